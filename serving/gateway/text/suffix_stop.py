"""SuffixStop: ends a generation where it begins to repeat the code after the cursor.

A model without FIM tokens sees only the code before the cursor. What it writes joins up with the code after the
cursor where it arrives at that code's first lines, the *anchor*: lines of the suffix that are not blank, as many
as make `_DISTINCT` characters, so that a lone `}` or `else:` needs the lines after it as witnesses.

- Cursor between lines, or on a line with nothing before it: the anchor is whole lines, indented in any way.
- Cursor inside a line: the anchor's first line is the rest of that line, and must end a generated line.
- At the end of the text the first of these lines are enough, if they are indented as in the suffix (`in_part`).
- A suffix with too few characters for a distinct anchor matches with its exact indentation only.

Blank lines and white space at the ends of lines do not matter. Lines are compared up to `_LONGEST_LINE` characters,
and no more than `_MOST_HELD` are held back, so that a piece of text takes no longer the longer text and suffix are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import islice

_DISTINCT = 8
"""Characters other than white space that make an anchor distinct."""
_LONGEST_LINE = 256
"""Characters of a line that are compared: lines that agree so far are the same."""
_MOST_HELD = 4096
"""Characters that are held back: what needs more, as blank lines without end, is taken for no match."""


class _Verdict(Enum):
    MATCH = auto()
    OPEN = auto()
    FAIL = auto()


@dataclass(frozen=True)
class _Anchor:
    """The first lines of a suffix.

    Attributes:
      lines: as `normal` makes them.
      inside_line: the first line is the rest of the cursor's line; the space it begins with counts.
      exact: the indentation of all lines counts.
    """

    lines: tuple[str, ...]
    inside_line: bool
    exact: bool

    @classmethod
    def of(cls, suffix: str, *, inside_line: bool) -> "_Anchor":
        lines: list[str] = []
        characters = 0
        for line in _lines(suffix):
            lines.append(line)
            characters += len("".join(line.lstrip()[:_LONGEST_LINE].split()))
            if characters >= _DISTINCT:
                break
        anchor = cls(tuple(lines), inside_line, exact=characters < _DISTINCT)
        return replace(anchor, lines=tuple(anchor._normal(line, index) for index, line in enumerate(lines)))

    def is_line(self, line: str, index: int) -> bool:
        """Whether a line is the anchor's at this place."""
        return self._normal(line, index) == self.lines[index]

    def could_be_line(self, growing: str, index: int) -> _Verdict:
        """Whether a line is the anchor's at this place, or could become it or a blank line before it."""
        wanted, growing = self.lines[index], self._indented(growing, index)
        if len(wanted) == _LONGEST_LINE and growing.startswith(wanted):
            return _Verdict.MATCH
        is_blank_line = not growing.strip() and not (self.inside_line and index == 0)
        is_open = is_blank_line or wanted.startswith(growing) or growing.rstrip() == wanted
        return _Verdict.OPEN if is_open else _Verdict.FAIL

    def _normal(self, line: str, index: int) -> str:
        return self._indented(line, index).rstrip()[:_LONGEST_LINE]

    def _indented(self, line: str, index: int) -> str:
        return line if self.exact or (self.inside_line and index == 0) else line.lstrip()


class SuffixStop:
    """A filter that lets a growing text through up to where it reaches the suffix.

    What could turn out to be the anchor is held back until that is known.

    Attributes:
      stopped: the text reached the suffix; the text before is complete.
      skipped: nothing is left out before what is shown.
      added: nothing is shown that the text did not have.
    """

    skipped = 0
    added = 0

    def __init__(self, prefix: str, suffix: str, *, in_part: bool = False) -> None:
        """Prepare for the text between `prefix` and `suffix`; a blank suffix stops nothing.

        With `in_part`, lines of the suffix at the end of the text are left out even if they are not the whole anchor.
        """
        self.stopped = False
        self._held = ""
        self._matched = 0  # lines of the anchor that the held text begins with
        self._judged = 0  # characters of those lines, and of blank ones
        before, after = prefix.rsplit("\n", 1)[-1], suffix.split("\n", 1)[0]
        inside_line = bool(before.strip() and after.strip())
        # With the cursor in the indentation of the suffix's first line, the line break before that line, and as much
        # of its indentation as the prefix has, are for the generated text to bring; otherwise the suffix has them.
        self._shares_indent = bool(after.strip()) and not inside_line
        self._suffix_indent = after[: len(after) - len(after.lstrip())]
        lines = before + suffix if self._shares_indent else suffix
        self._anchor = _Anchor.of(lines, inside_line=inside_line)
        whole_lines = in_part and not inside_line
        self._first_lines = list(islice(_lines(lines), len(self._anchor.lines))) if whole_lines else []
        self._indent = before[-_LONGEST_LINE:]
        self._at_line_start = not before.strip()

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        self._held += text
        return self._advance(final=False)

    def flush(self, *, cut: bool = False) -> str:
        """What was held back, now that the text grows no more."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        if not self._anchor.lines:
            return self._release(len(self._held))
        released = ""
        while self._held:
            if not self._at_line_start:
                released += self._release(self._next_candidate())
            match self._judge(final=final) if self._held else _Verdict.OPEN:
                case _Verdict.OPEN:
                    break
                case _Verdict.MATCH:
                    self.stopped = True
                    if self._shares_indent:
                        released += self._release(self._leading_space()).removesuffix(self._suffix_indent)
                    self._held = ""
                case _Verdict.FAIL:
                    released += self._release(1 if self._anchor.inside_line else self._leading_space())
                    self._at_line_start = False
                    self._matched = self._judged = 0
        return released

    def _judge(self, *, final: bool) -> _Verdict:
        """Whether the held text begins with the anchor, or could when it grows (if it is not final)."""
        *complete, growing = self._held[self._judged :].split("\n")
        if final:
            complete.append(growing)
        for line in complete:
            whole = self._whole(line)
            if whole.strip():
                if not self._anchor.is_line(whole, self._matched):
                    return _Verdict.FAIL
                self._matched += 1
                if self._matched == len(self._anchor.lines):
                    return _Verdict.MATCH
            self._judged += len(line) + 1
        if final:
            return _Verdict.MATCH if self._ends_in_suffix() else _Verdict.FAIL
        if len(self._held) > _MOST_HELD:
            return _Verdict.FAIL
        verdict = self._anchor.could_be_line(self._whole(growing), self._matched)
        is_last = self._matched + 1 == len(self._anchor.lines)
        return _Verdict.OPEN if verdict is _Verdict.MATCH and not is_last else verdict

    def _ends_in_suffix(self) -> bool:
        """Whether the held text is the first lines of the suffix, and more than brackets."""
        whole = self._indent + self._held if self._at_line_start else self._held
        lines = [line.rstrip() for line in whole.split("\n") if line.strip()]
        first = [line.rstrip() for line in self._first_lines[: len(lines)]]
        return lines == first and any(map(str.isalnum, "".join(lines)))

    def _whole(self, line: str) -> str:
        """A line of the held text, with what the prefix has of it."""
        return self._indent + line if self._at_line_start and not self._judged else line

    def _next_candidate(self) -> int:
        """Where in the held text the anchor could begin; its length if nowhere."""
        position = self._held.find(self._anchor.lines[0][0] if self._anchor.inside_line else "\n")
        return position if position >= 0 else len(self._held)

    def _leading_space(self) -> int:
        return len(self._held) - len(self._held.lstrip())

    def _release(self, length: int) -> str:
        released, self._held = self._held[:length], self._held[length:]
        return released


def _lines(text: str) -> Iterator[str]:
    """The lines that are not blank, each found when it is asked for."""
    while rest := text.lstrip():
        indent = text[: len(text) - len(rest)].rpartition("\n")[2]
        line, _, text = rest.partition("\n")
        yield indent + line
