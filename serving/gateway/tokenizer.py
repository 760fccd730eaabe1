"""The Tokenizer interface: between the text of requests and the token ids of one model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence


class Tokenizer(ABC):
    """Text to token ids and back.

    Attributes:
      vocab_size: V; ids are 0 to V - 1.
      bos_id: begins every prompt; never part of what `encode` returns.
      control_ids: ids that no text from a client may become and no answer shows.
      longest_piece: bytes of the longest token, so that `n` bytes of text are at least `n / longest_piece` tokens.
    """

    vocab_size: int
    bos_id: int
    control_ids: frozenset[int]
    longest_piece: int

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of a text, without BOS; none of them a control id, whatever the text says."""

    @abstractmethod
    def id_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes a token stands for; a part of a character for byte tokens, empty for control tokens."""

    @abstractmethod
    def control_id(self, token_text: str) -> int | None:
        """The id of the control token with this text (`<|fim_prefix|>`); None if the vocabulary has none."""

    def encode_with_sentinels(self, text: str) -> list[int]:
        """The ids of a raw prompt, in which FIM and turn sentinels are control tokens."""
        raise NotImplementedError

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; control tokens show as nothing and broken characters as U+FFFD."""
        return b"".join(map(self.id_bytes, ids)).decode("utf-8", errors="replace")
