"""The Tokenizer interface: between the text of requests and the token ids of one model."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

EOS = "<eos>"
BOS = "<bos>"
FIM_PREFIX = "<|fim_prefix|>"
FIM_MIDDLE = "<|fim_middle|>"
FIM_SUFFIX = "<|fim_suffix|>"
FILE_SEPARATOR = "<|file_separator|>"
START_OF_TURN = "<start_of_turn>"
END_OF_TURN = "<end_of_turn>"

SENTINELS = (BOS, EOS, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, FILE_SEPARATOR, START_OF_TURN, END_OF_TURN)
"""What a raw prompt may write as text. Their ids differ between Gemma 1 and 3, so they are looked up by this text."""
TERMINATORS = (EOS, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, FILE_SEPARATOR, START_OF_TURN, END_OF_TURN)
"""Tokens by which a model ends its answer, or goes on to something that was not asked for."""

_CHARACTERS_AT_ONCE = 8
"""For each token of a limit. Source code has about four to a token: what fits its limit is encoded once, whole."""
_SPACE = "▁"
"""What Gemma's vocabularies write for a space."""
_TEXT_PIECE = re.compile(r"\s+|</?(?!(?:pad|eos|bos|unk|mask)>)(?:[a-z]+|h[1-6])>")


def is_text_piece(piece: str) -> bool:
    """Whether a user-defined piece is text (a run of white space, an HTML tag) and not a control token."""
    return _TEXT_PIECE.fullmatch(piece.replace(_SPACE, " ")) is not None


def piece_bytes(piece: str) -> bytes:
    """The text that a piece of the vocabulary stands for, in UTF-8."""
    return piece.replace(_SPACE, " ").encode()


class Tokenizer(ABC):
    """Text to token ids and back.

    Attributes:
      vocab_size: V; ids are 0 to V - 1.
      bos_id: begins every prompt; never part of what `encode` returns.
      control_ids: ids that no text from a client may become and no answer shows.
      terminator_ids: the control ids at which every generation ends.
      longest_piece: bytes of the longest token: `n` bytes of text are at least `n / longest_piece` tokens.
    """

    def __init__(self, pieces: Iterable[bytes], control: Mapping[str, int]) -> None:
        """Make the tables that all formats share.

        Args:
          pieces: the bytes that each id stands for, empty for control tokens.
          control: the text of each control token -> its id.
        """
        if BOS not in control:
            raise ValueError(f"The vocabulary has no {BOS} token, so it is not one of Gemma's.")
        self._keep(tuple(pieces), control)
        self.bos_id = control[BOS]
        self.terminator_ids = frozenset(control[text] for text in TERMINATORS if text in control)
        self.longest_piece = max(map(len, self._pieces))
        # A literal U+2581 must not come back as a space. Its bytes are no text one by one: only byte tokens have them.
        space = [bytes([byte]) for byte in _SPACE.encode()]
        if lacking := next((byte for byte in space if byte not in self._pieces), None):
            raise ValueError(
                f"The vocabulary has no token for the byte 0x{lacking.hex().upper()}, so it is not one of Gemma's."
            )
        self._literal_space_ids = [self._pieces.index(byte) for byte in space]
        self._sentinel_pattern = re.compile("(" + "|".join(re.escape(s) for s in SENTINELS if s in control) + ")")

    def _keep(self, pieces: tuple[bytes, ...], control: Mapping[str, int]) -> None:
        self._pieces = pieces
        self._control = dict(control)
        self._control_texts = {token_id: text for text, token_id in control.items()}
        self.vocab_size = len(pieces)
        self.control_ids = frozenset(control.values())

    def leave_out_from(self, size: int) -> None:
        """Makes the vocabulary one of `size` tokens, if what it has beyond is in no text and none of `SENTINELS`."""
        control = {text: token_id for text, token_id in self._control.items() if token_id < size}
        if not any(self._pieces[size:]) and not (self._control.keys() - control.keys()) & set(SENTINELS):
            self._keep(self._pieces[:size], control)

    @abstractmethod
    def _encode_text(self, text: str) -> list[int]:
        """The ids of a text without U+2581; control tokens written in it are ordinary text."""

    def encode(self, text: str, limit: int | None = None) -> list[int]:
        """The ids of a text, without BOS; none of them a control id, whatever the text says.

        Args:
          text: the text.
          limit: of a text that has more tokens, only the beginning may be encoded, to some number above the limit.
        """
        length = len(text) if limit is None else _CHARACTERS_AT_ONCE * max(limit, 1)
        while length < len(text):
            ids = self._encode_whole(text[:length])
            # A cut changes what is beside it: no text has half as many tokens for the text that follows.
            if limit is not None and len(ids) > 2 * limit:
                return ids
            length *= 2
        return self._encode_whole(text)

    def _encode_whole(self, text: str) -> list[int]:
        first, *others = text.split(_SPACE)
        ids = self._encode_text(first)
        for part in others:
            ids += self._literal_space_ids
            ids += self._encode_text(part)
        return ids

    def encode_with_sentinels(self, text: str, limit: int | None = None) -> Iterator[list[int]]:
        """The ids of a raw prompt, in which the texts of `SENTINELS` are control tokens, part by part.

        `limit` is that of each part, as for `encode`.
        """
        for position, part in enumerate(self._sentinel_pattern.split(text)):
            yield [self._control[part]] if position % 2 else self.encode(part, limit)

    def id_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes a token stands for; a part of a character for byte tokens, empty for control tokens."""
        return self._pieces[token_id]

    def control_id(self, text: str) -> int | None:
        """The id of the control token with this text; None if the vocabulary has none."""
        return self._control.get(text)

    def known(self, ids: Iterable[int]) -> frozenset[int]:
        """Those that the vocabulary has."""
        return frozenset(token_id for token_id in ids if 0 <= token_id < self.vocab_size)

    def control_text(self, token_id: int) -> str | None:
        """The text of a control token, by which people know it; None for any other."""
        return self._control_texts.get(token_id)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; control tokens show as nothing and broken characters as U+FFFD."""
        return b"".join(map(self.id_bytes, ids)).decode("utf-8", errors="replace")
