"""LineBreakJoin: keeps line breaks whole where a generated text joins the code around the cursor.

In files of Windows a line ends in CR LF. A text that is cut before a LF, by a stop text or for its length, ends in CR.
Where the suffix begins with CR LF that would make CR CR LF of it, and elsewhere leave a CR that ends no line; only a LF
that the suffix begins with needs it. A text that begins with CR LF after a prefix that ends in CR would double it. Such
a CR is left out. What the model writes between stays as it is.
"""


class LineBreakJoin:
    """A filter that lets a growing text through but for CRs at its ends that are no part of a line break.

    Attributes:
      stopped: never; it ends no text.
      skipped: CRs left out at the beginning.
    """

    stopped = False

    def __init__(self, prefix: str, suffix: str) -> None:
        """Prepare for the text between `prefix` and `suffix`."""
        self.skipped = 0
        self._held = ""  # CRs of which the next character decides
        self._follows_cr = prefix.endswith("\r")  # with nothing but CRs between
        self._precedes_lf = suffix.startswith("\n")

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        text = self._held + text
        rest = text.lstrip("\r")
        if self._follows_cr and rest:
            self._follows_cr = False
            if rest.startswith("\n"):
                self.skipped = len(text) - len(rest)
                text = rest
        shown = text.rstrip("\r")
        self._held = text[len(shown) :]
        return shown

    def flush(self) -> str:
        """What was held back, now that the text grows no more."""
        return self._held[:1] if self._precedes_lf and not self._follows_cr else ""
