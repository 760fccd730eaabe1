"""Cursor: the code around the place that an answer is for, as far as it says where the answer ends."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from serving.gateway.text.postprocessing.languages import Language
from serving.gateway.text.postprocessing.syntax import OPENING, PAIRS, Syntax

_READ = 4096
"""Characters that are read before and after the cursor."""
_TAB = 4
"""Columns of a tab, where lines with tabs and with spaces are compared."""
_TYPES = frozenset({"class", "struct", "interface", "trait", "enum", "union", "record", "object"})
_CONTAINERS = _TYPES | {"namespace", "module", "mod", "impl", "extension", "protocol"}
_CONTAINERS_WITH_PARAMETERS = frozenset({"class", "record"})
_FUNCTIONS = frozenset(["def", "fn", "func", "fun", "function"])


def columns(text: str) -> int:
    """The columns of the space that a line begins with."""
    return len(text[: len(text) - len(text.lstrip())].expandtabs(_TAB))


@dataclass(frozen=True, slots=True)
class _Opening:
    """A bracket that is open at some place: what closes it, the columns of its line, whether it is in the last line."""

    closing: str
    columns: int
    in_last_line: bool


class Cursor:
    """A place in a file.

    Attributes:
      before: what its line has before it.
      after: what its line has after it, without the line break.
      in_literal: whether it is inside a literal or a comment.
      syntax: of the text before it.
    """

    def __init__(self, prefix: str, suffix: str, language: Language) -> None:
        self._head = _from_a_line(prefix[-_READ:]) if len(prefix) > _READ else prefix
        self._tail = suffix[:_READ]
        self._language = language
        self.before = self._head.rpartition("\n")[2]
        self.after = self._tail.partition("\n")[0].rstrip("\r")
        self.syntax = Syntax(language, self._head)
        reading = self.syntax.read()
        self.in_literal = reading.in_literal
        line_start = len(self._head.encode(errors="replace")) - len(self.before.encode(errors="replace"))
        self._open: list[_Opening] = []
        for bracket in reading.brackets:
            if bracket.character in OPENING:
                indent = columns(self.syntax.indentation(bracket) + ".")
                self._open.append(_Opening(PAIRS[bracket.character], indent, bracket.at >= line_start))
            elif self._open and self._open[-1].closing == bracket.character:
                self._open.pop()

    @property
    def between_lines(self) -> bool:
        """Whether a line of the suffix begins here, so that whole lines are to be put before it."""
        return not self.before.strip() and bool(self.after.strip())

    @property
    def inside_line(self) -> bool:
        """Whether its line goes on after it, with more than what closes brackets and the statement."""
        return bool(self.before.strip() and self.after.strip(" \t)]};,:"))

    @cached_property
    def reference(self) -> int:
        """Columns of the last line before it that is not blank; 0 without one."""
        lines = (line for line in reversed(self._head.split("\n")) if line.strip())
        return columns(next(lines, ""))

    @cached_property
    def following(self) -> str | None:
        """The first line of the suffix that is not blank, of those that are whole or have nothing before the cursor."""
        first = self.before + self.after if self.between_lines else ""
        return next((line for line in (first, *self._tail.split("\n")[1:]) if line.strip()), None)

    def declares(self, base: int) -> bool:
        """Whether lines of so many columns here are declarations: of the file, or of a class and the like."""
        headers = (line for line in reversed(self._head.split("\n")) if line.strip() and columns(line) < base)
        header = next(headers, None)
        if base == 0 or header is None:
            return base == 0
        words = set(re.findall(r"\w+", header.partition("(")[0]))
        containers = _CONTAINERS_WITH_PARAMETERS if "(" in header else _CONTAINERS
        return bool(words & containers) and not words & _FUNCTIONS

    @cached_property
    def unclosed(self) -> tuple[list[str], list[str]]:
        """What closes the brackets that are open here and that the suffix does not close, innermost first.

        Returns:
          Those of the cursor's line, and those of lines before.
        """
        missing = list(reversed(self._open))[: self._missing()] if self._open else []
        return [it.closing for it in missing if it.in_last_line], [it.closing for it in missing if not it.in_last_line]

    def _missing(self) -> int:
        """How many of the innermost brackets the suffix does not close.

        The suffix's first closing bracket closes that of its kind whose line is indented alike. Counting all of them
        would not do, as prefix and suffix may be parts of a file.
        """
        closing = self._closed_by_suffix()
        in_line = [bracket for bracket, its_columns in closing if its_columns is None]
        if in_line:
            return max(sum(it.in_last_line for it in self._open) - len(in_line), 0)
        if not closing:
            return len(self._open)
        kinds = [it.closing for it in reversed(self._open)]
        for depth, opening in enumerate(reversed(self._open)):
            if (opening.closing, opening.columns) == closing[0]:
                return depth
        return max(len(kinds) - len(closing), 0) if closing[0][0] in kinds else len(kinds)

    def _closed_by_suffix(self) -> Sequence[tuple[str, int | None]]:
        """The brackets that the suffix closes and does not open, with their line's columns; None: the cursor's line."""
        syntax = Syntax(self._language, self._tail)
        line_end = len(self.after.encode(errors="replace"))
        closing: list[tuple[str, int | None]] = []
        depth = 0
        for bracket in syntax.read().brackets:
            if bracket.character in OPENING:
                depth += 1
            elif depth:
                depth -= 1
            elif bracket.at < line_end and not self.between_lines:
                closing.append((bracket.character, None))
            else:
                closing.append((bracket.character, columns(syntax.indentation(bracket) + ".")))
        return closing


def _from_a_line(text: str) -> str:
    """A text without its first line, which is not whole; the text itself if it has no other."""
    return text.partition("\n")[2] or text
