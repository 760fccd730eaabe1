"""SuffixStop: ends a generation where it begins to repeat the code after the cursor.

A model without FIM tokens sees only the code before the cursor. What it writes joins up with the code after the
cursor where it arrives at that code's first lines, the *anchor*: lines of the suffix that are not blank, as many
as make `_DISTINCT` characters, so that a lone `}` or `else:` needs the lines after it as witnesses.

- Cursor between lines, or on a line with nothing before it: the anchor is whole lines, indented in any way.
- Cursor inside a line: the anchor's first line is the rest of that line, and must end a generated line.
- A suffix with too few characters for a distinct anchor matches with its exact indentation only.

Blank lines and white space at the ends of lines do not matter.
"""

from dataclasses import dataclass
from enum import Enum, auto

_DISTINCT = 8
"""Characters other than white space that make an anchor distinct."""


class _Verdict(Enum):
    MATCH = auto()
    OPEN = auto()
    FAIL = auto()


@dataclass(frozen=True)
class _Anchor:
    """The first lines of a suffix.

    Attributes:
      lines: without white space at their ends.
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
        for line in suffix.split("\n"):
            if line.strip() and characters < _DISTINCT:
                lines.append(line.rstrip())
                characters += len("".join(line.split()))
        return cls(tuple(lines), inside_line, exact=characters < _DISTINCT)

    def judge(self, text: str, *, final: bool) -> _Verdict:
        """Whether a text begins with the anchor, or could when it grows (if it is not final)."""
        *complete, growing = text.split("\n")
        if final:
            complete.append(growing)
        matched = 0
        for line in complete:
            if line.strip():
                if self._normal(line, matched).rstrip() != self._normal(self.lines[matched], matched):
                    return _Verdict.FAIL
                matched += 1
                if matched == len(self.lines):
                    return _Verdict.MATCH
        if final:
            return _Verdict.FAIL
        wanted, growing = self._normal(self.lines[matched], matched), self._normal(growing, matched)
        is_blank_line = not growing.strip() and not (self.inside_line and matched == 0)
        is_open = is_blank_line or wanted.startswith(growing) or growing.rstrip() == wanted
        return _Verdict.OPEN if is_open else _Verdict.FAIL

    def _normal(self, line: str, index: int) -> str:
        return line if self.exact or (self.inside_line and index == 0) else line.lstrip()


class SuffixStop:
    """A filter that lets a growing text through up to where it reaches the suffix.

    What could turn out to be the anchor is held back until that is known.

    Attributes:
      stopped: the text reached the suffix; the text before is complete.
    """

    def __init__(self, prefix: str, suffix: str) -> None:
        """Prepare for the text between `prefix` and `suffix`; a blank suffix stops nothing."""
        self.stopped = False
        self._held = ""
        before, after = prefix.rsplit("\n", 1)[-1], suffix.split("\n", 1)[0]
        inside_line = bool(before.strip() and after.strip())
        # With the cursor in the indentation of the suffix's first line, the line break before that line, and as much
        # of its indentation as the prefix has, are for the generated text to bring; otherwise the suffix has them.
        self._shares_indent = bool(after.strip()) and not inside_line
        self._suffix_indent = after[: len(after) - len(after.lstrip())]
        self._anchor = _Anchor.of(before + suffix if self._shares_indent else suffix, inside_line=inside_line)
        self._indent = before
        self._at_line_start = not before.strip()

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        self._held += text
        return self._advance(final=False)

    def flush(self) -> str:
        """What was held back, now that the text grows no more."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        if not self._anchor.lines:
            return self._release(len(self._held))
        released = ""
        while self._held:
            if not self._at_line_start:
                released += self._release(self._next_candidate())
            text = self._indent + self._held if self._at_line_start else self._held
            match self._anchor.judge(text, final=final) if self._held else _Verdict.OPEN:
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
        return released

    def _next_candidate(self) -> int:
        """Where in the held text the anchor could begin; its length if nowhere."""
        position = self._held.find(self._anchor.lines[0][0] if self._anchor.inside_line else "\n")
        return position if position >= 0 else len(self._held)

    def _leading_space(self) -> int:
        return len(self._held) - len(self._held.lstrip())

    def _release(self, length: int) -> str:
        released, self._held = self._held[:length], self._held[length:]
        return released
