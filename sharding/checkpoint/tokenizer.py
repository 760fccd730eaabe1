"""StoredTokenizer: the tokenizer beside a model's weights, or in the same file."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from sharding.checkpoint.small_file import read_small_file

MAX_BYTES = 2**27
"""Of a tokenizer. The `tokenizer.json` of Gemma 3 has 33 MB."""


class TokenizerKind(StrEnum):
    """What the bytes of a tokenizer are, and the file that Hugging Face's checkpoints have for them."""

    SENTENCEPIECE = "tokenizer.model"
    JSON = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class StoredTokenizer:
    """A tokenizer in a file.

    Attributes:
      file: the file.
      kind: what `read` gives.
      read: reads it, as a SentencePiece model or a `tokenizer.json`. Takes a second if it is in a GGUF's metadata.
        Raises CheckpointError.
    """

    file: Path
    kind: TokenizerKind
    read: Callable[[], bytes]


def tokenizer_file(file: Path) -> StoredTokenizer:
    """The tokenizer that a file of its own is; JSON begins with a brace, a SentencePiece model does not.

    Raises:
      OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        is_json = opened.read(64).lstrip()[:1] == b"{"
    return whole_file(file, TokenizerKind.JSON if is_json else TokenizerKind.SENTENCEPIECE)


def whole_file(file: Path, kind: TokenizerKind) -> StoredTokenizer:
    """The tokenizer of a known kind that a file of its own is."""
    return StoredTokenizer(file, kind, partial(read_small_file, file, MAX_BYTES))
