"""FileStyle: writes an answer's line ends and indentation as the file around it does."""

import re

_READ = 65_536
"""Characters that are read before and after the cursor."""
_WIDTH = 4
"""Spaces that are a tab."""
_INDENT = re.compile(r"^(?:\t| {2,})(?=\S)", re.MULTILINE)


class FileStyle:
    """A filter that lets a whole text through in the style of a file.

    If all lines of the file end alike, those of the text do. Spaces at a line's beginning become tabs if most of the
    file's indented lines begin with a tab, and otherwise tabs become spaces, as many as the file's least indentation.

    Attributes:
      stopped: never; it ends no text.
      skipped: nothing is left out before what is shown.
      added: characters shown beyond those of the text that they stand for; negative if they are fewer.
    """

    stopped = False
    skipped = 0

    def __init__(self, prefix: str, suffix: str) -> None:
        """Prepare for the text between `prefix` and `suffix`."""
        self.added = 0
        before, after = prefix[-_READ:], suffix[:_READ]
        self._line_end = _line_end(before, after)
        self._unit = _unit([*_INDENT.findall(before), *_INDENT.findall(after)])
        self._held = ""  # CRs, or the space that a line begins with
        self._at_start = not before.rpartition("\n")[2].strip()

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        return "".join(map(self._next, text))

    def flush(self, *, cut: bool = False) -> str:
        """What was held back, now that the text grows no more."""
        shown, self._held = self._held, ""
        return shown

    def _next(self, character: str) -> str:
        held, self._held = self._held, ""
        if held.startswith("\r") and character == "\n":
            return self._break(held + character)
        if held.startswith("\r") and character != "\r":
            return held + self._next(character)
        if character == "\r":
            space = held.rstrip("\r")
            self._held = held[len(space) :] + character
            return space
        if character == "\n":
            return held + self._break(character)
        if self._at_start and character in " \t":
            self._held = held + character
            return ""
        self._at_start = False
        return self._indent(held) + character

    def _break(self, line_end: str) -> str:
        self._at_start = True
        return self._rewritten(line_end, self._line_end or line_end)

    def _indent(self, space: str) -> str:
        if self._unit != "\t":
            return self._rewritten(space, space.replace("\t", self._unit or "\t"))
        rest = space.lstrip(" ")
        tabs = -(-(len(space) - len(rest)) // _WIDTH)
        return self._rewritten(space, "\t" * tabs + rest)

    def _rewritten(self, text: str, shown: str) -> str:
        self.added += len(shown) - len(text)
        return shown


def _line_end(*texts: str) -> str:
    """How lines end; empty if there are none, or not all end alike."""
    lines = sum(text.count("\n") for text in texts)
    windows = sum(text.count("\r\n") for text in texts)
    if not lines or 0 < windows < lines:
        return ""
    return "\r\n" if windows else "\n"


def _unit(indents: list[str]) -> str:
    """What indents lines: a tab, or the least spaces; empty if nothing does."""
    spaces = [len(indent) for indent in indents if indent != "\t"]
    if 2 * len(spaces) < len(indents):
        return "\t"
    return " " * min(spaces, default=0)
