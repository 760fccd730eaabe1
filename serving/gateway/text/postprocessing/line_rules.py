"""LineRules: which lines belong to an answer, by their indentation and first word."""

from serving.gateway.text.postprocessing.cursor import Cursor, columns
from serving.gateway.text.postprocessing.languages import Language
from serving.gateway.text.postprocessing.syntax import CLOSING


class LineRules:
    """Which lines belong to an answer, one after the other, after its first.

    Attributes:
      base: columns of the answer's lines, or of its statement.
    """

    def __init__(
        self, cursor: Cursor, base: int, limit: int, *, single: bool, head: int | None, declares: bool
    ) -> None:
        """Prepare for the second line.

        Args:
          cursor: where the answer goes.
          base: columns of the answer's lines, or of its statement.
          limit: columns below which no line belongs.
          single: whether it is one statement.
          head: columns of the statement whose block it is, if that was written in the cursor's line.
          declares: whether the lines are declarations.
        """
        self.base = base
        self._limit = limit
        self._single = single
        self._head = head
        self._declares = declares
        line = (cursor.following or "").strip()
        self._following = columns(cursor.following or "") if line and line[0] not in CLOSING else None
        self._had_block = False  # deeper lines, or a bracket that opens some

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
        """Whether the next line belongs; asked once for each line outside brackets and literals, in order.

        Args:
          indent: its columns.
          word: the word that it begins with, or a part of one that is none of the language's; may be empty.
          first: its first character other than space.
          language: says which words go on with a statement, or end it.
          after_blank: whether a blank line is before it.
        """
        if indent > self.base:
            self._had_block = True
            return self._following is None or self._following <= self.base
        if first == language.margin and self._limit > 0:
            return True
        if indent < self._limit:
            return indent == self._head and (word in language.clauses or word in language.ends)
        if word in language.clauses:
            return True
        had_block, self._had_block = self._had_block, self._had_block and word not in language.ends
        if word in language.ends:
            return had_block
        if first == "{" and not had_block:
            self._had_block = True
            return True
        if self._single or (self._declares and had_block):
            return False
        goes_on = self._following is not None and self._following >= self.base
        return not (after_blank and (self._declares or goes_on))
