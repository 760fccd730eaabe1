"""Detokenizer: generated token ids to text, as they come."""

import codecs

from serving.gateway.text.tokenizer import Tokenizer


class Detokenizer:
    """Decodes one generation incrementally; what it returns is always whole characters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_id: int) -> str:
        """The text that this token completes; a character in byte tokens comes with the last of them."""
        return self._decoder.decode(self._tokenizer.id_bytes(token_id))

    @property
    def mid_character(self) -> bool:
        """Whether the last token left a character unfinished."""
        return bool(self._decoder.getstate()[0])

    def flush(self) -> str:
        """What is left at the end: U+FFFD for an unfinished character, otherwise nothing."""
        return self._decoder.decode(b"", final=True)
