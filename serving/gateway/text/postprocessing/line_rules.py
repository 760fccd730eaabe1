"""LineRules: which lines belong to an answer, by their indentation and first word."""

from serving.gateway.text.postprocessing.cursor import Cursor, columns
from serving.gateway.text.postprocessing.languages import Language
from serving.gateway.text.postprocessing.syntax import CLOSING


class LineRules:
    """Which lines belong to an answer, by their indentation.

    Attributes:
      base: columns of the answer's lines, or of its statement.
      limit: columns below which no line belongs.
      single: whether it is one statement.
      head: columns of the statement whose block it is, if that was written before the cursor in its line.
      declares: whether they are declarations.
      following: columns of the suffix's next line; None without one, or if it closes the block.
    """

    def __init__(
        self, cursor: Cursor, base: int, limit: int, *, single: bool, head: int | None, declares: bool
    ) -> None:
        self.base, self._limit, self._single, self._head, self._declares = base, limit, single, head, declares
        line = (cursor.following or "").strip()
        self._following = columns(cursor.following or "") if line and line[0] not in CLOSING else None
        self._had_block = False

    @classmethod
    def of_statement(cls, cursor: Cursor, base: int) -> "LineRules":
        """One statement that begins with so many columns."""
        return cls(cursor, base, base, single=True, head=None, declares=False)

    @classmethod
    def of_lines(cls, cursor: Cursor, base: int) -> "LineRules":
        """Lines of which the first has so many columns."""
        if cursor.between_lines:
            return cls.of_statement(cursor, base)
        opened = base > cursor.reference
        limit = cursor.reference + 1 if opened else base
        head = cursor.reference if opened and cursor.before.strip() else None
        return cls(cursor, base, limit, single=False, head=head, declares=cursor.declares(base))

    def allow(self, indent: int, word: str, first: str, language: Language, *, after_blank: bool) -> bool:
        """Whether the next line belongs, which begins so; asked once for each line outside brackets and literals."""
        if indent > self.base:
            self._had_block = True
            return self._following is None or self._following <= self.base
        if indent < self._limit:
            return indent == self._head and (word in language.clauses or word in language.ends)
        had_block = self._had_block
        if word in language.clauses:
            return True
        if word in language.ends or (first == "{" and not had_block):
            self._had_block = first == "{"
            return had_block or first == "{"
        if self._single:
            return False
        goes_on = self._following is not None and self._following >= self.base
        return not (after_blank and (self._declares or goes_on)) and not (self._declares and had_block)
