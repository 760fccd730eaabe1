"""WholeLines: of an answer that is cut off, by time or length, the lines that are whole."""


class WholeLines:
    """A filter that lets a growing text through, line by line once its first line is whole.

    The first line is shown as it grows: something is to be shown early, and of an answer that is cut off in it.

    Attributes:
      stopped: never; it ends no text.
      skipped: nothing is left out before what is shown.
      added: characters of the line break, and of the space after it, that a cut text did not have.
    """

    stopped = False
    skipped = 0

    def __init__(self, prefix: str, suffix: str) -> None:
        """Prepare for the text between `prefix` and `suffix`."""
        self.added = 0
        before, after = prefix.rpartition("\n")[2], suffix.partition("\n")[0]
        # A line of the suffix that begins at the cursor must not become the end of a generated one.
        self._join = f"\n{before}" if after.strip() and not before.strip() else ""
        self._held = ""  # from a line break, or a CR that may be part of one, on
        self._wrote = False  # something other than space
        self._has_line = False

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        text = self._held + text
        whole, line_break, _ = text.rpartition("\n")
        self._has_line |= bool(line_break) and (self._wrote or bool(whole.strip()))
        shown = (whole if self._has_line else text).rstrip("\r")
        self._wrote |= bool(shown.strip())
        self._held = text[len(shown) :]
        return shown

    def flush(self, *, cut: bool = False) -> str:
        """What was held back, now that the text grows no more."""
        shown, self._held = self._held, ""
        if not cut:
            return shown
        self.added += len(self._join)
        return self._join
