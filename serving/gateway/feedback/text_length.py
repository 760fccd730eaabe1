"""TextLength: lines and characters of a text that grows."""


class TextLength:
    """Counts what comes.

    Attributes:
      characters: so far.
    """

    def __init__(self) -> None:
        """Nothing has come."""
        self.characters = 0
        self._line_breaks = 0
        self._ends_line = True

    def add(self, text: str) -> None:
        """The text has grown by this much."""
        if text:
            self.characters += len(text)
            self._line_breaks += text.count("\n")
            self._ends_line = text.endswith("\n")

    @property
    def lines(self) -> int:
        """Lines, the last one with or without a line break."""
        return self._line_breaks + (not self._ends_line)
