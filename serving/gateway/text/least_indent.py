"""LeastIndent: ends a text at a line that leaves the block of the cursor."""


class LeastIndent:
    """A filter that lets a growing text through up to a line that is indented too little.

    The text's first line goes on from the cursor and is always let through. Line breaks, blank lines and indentation
    are held back until it is known that their line is shown, so that a text never ends with them when it is stopped.
    A space and a tab each count as one character of indentation. (llama.cpp's `n_indent`.)

    Attributes:
      stopped: a line is indented too little; the text before it is complete.
      skipped: nothing is left out before what is shown.
    """

    skipped = 0

    def __init__(self, least: int) -> None:
        """Let through lines that begin with `least` characters of white space."""
        self.stopped = False
        self._least = least
        self._held = ""  # from the line break on; or a carriage return that may be a part of one
        self._in_line = True

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        is_only_space = not self._in_line and not text.strip()
        self._held += text
        shown = ""
        while not is_only_space and not self.stopped:
            if self._in_line:
                shown += self._release(self._end_of_line())
                if "\n" not in self._held:
                    break
                self._in_line = False
            space = len(self._held) - len(self._held.lstrip())
            if space == len(self._held):
                break
            self.stopped = space - self._held.rfind("\n", 0, space) - 1 < self._least
            if not self.stopped:
                shown += self._release(space)
                self._in_line = True
        return shown

    def flush(self) -> str:
        """What was held back, now that the text grows no more."""
        return self._release(len(self._held))

    def _end_of_line(self) -> int:
        end = self._held.find("\n")
        line = self._held if end < 0 else self._held[:end]
        return len(line) - line.endswith("\r")

    def _release(self, length: int) -> str:
        released, self._held = self._held[:length], self._held[length:]
        return released
