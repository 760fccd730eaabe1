"""Tokenizers from a Hugging Face `tokenizer.json`."""

import json
import re
from typing import Any, Self

import tokenizers

from serving.gateway.text.tokenizer import SENTINELS, Tokenizer, is_text_piece, piece_bytes

_MAX_ID = 2**22 - 1
"""16 times those of Gemma 3; a file with more is damaged, and would take all memory."""
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class HuggingFaceTokenizer(Tokenizer):
    """A tokenizer over the `tokenizers` library in which no text matches a control token."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Take the content of a `tokenizer.json` over; its added control tokens are taken out in place.

        The library matches added tokens wherever their text occurs. Their ids are in the tables here.
        """
        added = {token["content"]: token["id"] for token in spec["added_tokens"]}
        vocabulary: dict[str, int] = spec["model"]["vocab"] | added
        for text, token_id in vocabulary.items():
            if isinstance(token_id, bool) or not isinstance(token_id, int) or not 0 <= token_id <= _MAX_ID:
                shown = repr(token_id)[:40]
                raise ValueError(f"the id of {text[:40]!r} is {shown}, no integer from 0 to {_MAX_ID}.")
        control = {text: token_id for text, token_id in added.items() if not is_text_piece(text)}
        control |= {text: vocabulary[text] for text in SENTINELS if text in vocabulary}
        pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for text, token_id in vocabulary.items():
            if text not in control:
                byte = _BYTE_PIECE.fullmatch(text)
                pieces[token_id] = bytes.fromhex(byte[1]) if byte else piece_bytes(text)
        super().__init__(pieces, control)
        spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] not in control]
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(spec))
        except Exception as error:  # the library raises no other class
            raise ValueError(f"is not a tokenizer.json: {str(error)[:200]}.") from error
        for token in spec["added_tokens"]:
            if self._tokenizer.token_to_id(token["content"]) != token["id"]:
                raise ValueError(f"the added token {token['content']!r} has an id beside the vocabulary.")

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The tokenizer of a `tokenizer.json`.

        Raises:
          ValueError: it is none, or of another kind.
        """
        try:
            spec = json.loads(content)
            if spec["model"]["type"] == "BPE":
                return cls(spec)
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"is not a tokenizer.json: {error!r}.") from error
        raise ValueError("is not a byte-pair-encoding tokenizer.json.")

    def _encode_text(self, text: str) -> list[int]:
        # As a batch: `encode` holds the interpreter lock, and with it every other thread, for all of a long text.
        [encoding] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        ids: list[int] = encoding.ids
        return ids
