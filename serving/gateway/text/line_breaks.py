"""LineBreakJoin: keeps line breaks whole where a generated text joins the code around the cursor.

In files of Windows a line ends in CR LF. Where the suffix begins with that break, a text that ends in CR, as one does
that is cut before a LF, would make CR CR LF of it; and so would one that begins with CR LF after a prefix that ends in
CR. Such a CR is left out. What the model writes between stays as it is.
"""


class LineBreakJoin:
    """A filter that lets a growing text through but for CRs that double one of the prefix or the suffix.

    Attributes:
      stopped: never; it ends no text.
      skipped: CRs left out at the beginning.
      added: nothing is shown that the text did not have.
    """

    stopped = False
    added = 0

    def __init__(self, prefix: str, suffix: str) -> None:
        """Prepare for the text between `prefix` and `suffix`."""
        self.skipped = 0
        self._held = ""  # CRs of which the next character decides
        self._follows_cr = prefix.endswith("\r")  # with nothing but CRs between
        self._precedes_crlf = suffix.startswith("\r\n")
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
        held_back = self._follows_cr or self._precedes_crlf or self._precedes_lf
        shown = text.rstrip("\r") if held_back else text
        self._held = text[len(shown) :]
        return shown

    def flush(self, *, cut: bool = False) -> str:
        """What was held back, now that the text grows no more."""
        if self._precedes_crlf or (self._precedes_lf and self._follows_cr):
            return ""
        return self._held[:1] if self._precedes_lf else self._held
