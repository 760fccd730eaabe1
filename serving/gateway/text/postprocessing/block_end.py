"""BlockEnd: ends an answer where the block at the cursor ends.

- The cursor's line goes on after the cursor: with that line. What only closes brackets does not count.
- The cursor's line has code before it, or a line of the suffix begins at the cursor: with the one statement that is
  written, its block and its `else`. Comments before it belong to it.
- The answer is lines of its own: where a line has less indentation, or a bracket closes the block. Declarations, of a
  file or a class, end at a blank line or after the first that has a block; lines with which the suffix goes on, at a
  blank line.
- The suffix goes on deeper than these lines: before the first line that is as deep, as the suffix has it.

A bracket that was open at the cursor is closed by the answer only if the suffix does not close it. Literals and
comments end nothing. Held back is at most the space before a line and its first word.
"""

from serving.gateway.text.postprocessing.cursor import Cursor, columns
from serving.gateway.text.postprocessing.languages import Language
from serving.gateway.text.postprocessing.line_rules import LineRules
from serving.gateway.text.postprocessing.syntax import CLOSING, OPENING, PAIRS

_MOST_HELD = 4096
"""Characters that are held back: blank lines without end are the end."""


class BlockEnd:
    """A filter that lets a growing text through up to the end of the cursor's block.

    Attributes:
      stopped: the block has ended; the text before is complete.
      skipped: nothing is left out before what is shown.
      added: characters of the next line's indentation that the text did not have.
    """

    skipped = 0

    def __init__(self, prefix: str, suffix: str, language: Language) -> None:
        """Prepare for the text between `prefix` and `suffix`."""
        self.stopped = False
        self.added = 0
        self._cursor = cursor = Cursor(prefix, suffix, language)
        self._language = language
        self._special = language.clauses | language.ends
        self._held = ""  # line breaks and the space before a line's first character, or a CR
        self._word = ""  # a line's first letters, held back as they may become a word that matters
        self._unread = ""  # of what was shown, what the syntax has not seen
        self._in_literal = self._cursor_literal = cursor.in_literal
        self._in_cursor_line = bool(cursor.before.strip())
        self._wrote_in_it = False  # something other than space
        self._starting = not self._in_cursor_line  # nothing of the growing line but space has come
        self._due = list(reversed(cursor.unclosed[0])) if self._in_cursor_line else []  # closing brackets, last first
        self._has_code = self._in_cursor_line  # something other than comments has come
        self._closed_block = False  # a bracket of a line before the cursor's was closed
        self._rules: LineRules | None = None  # None until there is a line

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        shown = ""
        for character in text:
            shown += self._next(character)
            if self.stopped:
                break
        return shown

    def flush(self, *, cut: bool = False) -> str:
        """What was held back, now that the text grows no more."""
        if self._word:
            return self._begin_line("")
        if not self._starting:
            return self._held
        line_break = "".join(self._held.partition("\n")[:2]) if "\n" in self._held else ""
        return self._join(closing=True) or (line_break if cut else "")  # the line before was whole

    def _next(self, character: str) -> str:
        if not self._starting:
            return self._in_line(character)
        if character.isspace() and not self._word:
            self._held += character
            return self._end() if len(self._held) > _MOST_HELD else ""
        word = self._word + character
        if _is_word(character) and any(special.startswith(word) for special in self._special):
            self._word = word
            return ""
        return self._begin_line(character)

    def _begin_line(self, character: str) -> str:
        """What is shown once a line's first word, and the character after it, tell whether it belongs."""
        word, self._word = self._word, ""
        start = self._held.rpartition("\n")[2] if "\n" in self._held else self._cursor.before + self._held
        indent, first = columns(start), (word + character)[0]
        self._starting = False
        self._reads(self._held)
        if first in CLOSING:
            if not self._reads(character):
                return self._end(closing=True)
            shown = self._held + character
        elif self._belongs(indent, word + character if _is_word(character) else word, first):
            shown = self._held + word
            self._unread = word
        else:
            return self._end()
        self._held = ""
        if self._rules is None:
            self._rules = LineRules.of_lines(self._cursor, indent)
        return shown if first in CLOSING or not character else shown + self._in_line(character)

    def _in_line(self, character: str) -> str:
        shown = ""
        if self._held and character != "\n":  # a CR that ends no line
            shown, self._held = self._held, ""
            self._unread += shown
        if character == "\r":
            self._held = character
            return shown
        if character == "\n":
            return self._end_line()
        if character in CLOSING or (self._cursor_literal and self._cursor.after[:1] == character):
            if not self._reads(character):
                self.stopped = True
                return shown
        else:
            self._unread += character
        self._wrote_in_it |= not character.isspace()
        return shown + character

    def _end_line(self) -> str:
        self._reads("")
        self._held += "\n"
        if self._in_cursor_line and self._wrote_in_it:
            self._rules = LineRules.of_statement(self._cursor, columns(self._cursor.before))
        self._in_cursor_line = False
        self._starting = True
        return self._end() if self._cursor.inside_line or (self._closed_block and not self._due) else ""

    def _belongs(self, indent: int, word: str, first: str) -> bool:
        """Whether a line is part of the block."""
        after_blank = self._held.count("\n") > 1
        if self._in_literal:
            return not (self._cursor_literal and after_blank)
        leads = not self._has_code and not after_blank  # comments lead to what they are about
        if self._due or self._rules is None or (leads and indent >= self._rules.base):
            return True
        return self._rules.allow(indent, word, first, self._language, after_blank=after_blank)

    def _reads(self, text: str) -> bool:
        """Reads the brackets up to this text; false if its last character closes what the suffix closes."""
        syntax = self._cursor.syntax
        syntax.extend(self._unread + text)
        self._unread = ""
        reading = syntax.read()
        self._in_literal = reading.in_literal
        self._has_code |= reading.has_code
        ends_literal = self._cursor_literal and not self._in_literal
        self._cursor_literal &= self._in_literal
        for bracket in reading.brackets:
            if bracket.character in OPENING:
                self._due.append(PAIRS[bracket.character])
            elif self._due:
                if self._due[-1] == bracket.character:
                    self._due.pop()
            elif self._cursor.unclosed[1][:1] == [bracket.character]:
                self._cursor.unclosed[1].pop(0)
                self._closed_block = True
            elif syntax.is_last(bracket) and not (self._language.closes_patterns and bracket.character == ")"):
                return False
        return not (ends_literal and self._cursor.after[:1] == text)

    def _end(self, *, closing: bool = False) -> str:
        self.stopped = True
        return self._join(closing=closing)

    def _join(self, *, closing: bool = False) -> str:
        """What is shown of the space at the end: what has to be before the suffix."""
        line_break, found, rest = self._held.partition("\n")
        if not found:
            return ""
        if self._cursor.between_lines:
            self.added += max(len(self._cursor.before) - len(rest), 0)
            return f"{line_break}\n{self._cursor.before}"
        return self._held if closing and self._cursor.after.strip() else ""


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
