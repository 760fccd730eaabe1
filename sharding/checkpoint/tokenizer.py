"""StoredTokenizer: the tokenizer beside a model's weights, or in the same file."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from google.protobuf.message import DecodeError
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

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


def sentencepiece_model(content: bytes) -> ModelProto:
    """A SentencePiece model of Gemma's kind, which is whole.

    Its format has no end and no checksum: what is cut between two pieces is a model of fewer pieces, that cuts text in
    another way.

    Raises:
      ValueError: it is none, or lacks some of its pieces or what comes behind them.
    """
    try:
        model = ModelProto.FromString(content)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ValueError("is not a SentencePiece model.") from error
    if any(not isinstance(piece.piece, str) for piece in model.pieces):  # which protobuf leaves as bytes
        raise ValueError("is not a sound SentencePiece model: a piece of it is no UTF-8. Fetch it again.")
    trainer = model.trainer_spec
    if not model.HasField("trainer_spec") or not model.HasField("normalizer_spec"):
        raise ValueError("is not a whole SentencePiece model: it ends behind its pieces. Fetch it again.")
    if trainer.model_type != TrainerSpec.BPE:
        raise ValueError("is no SentencePiece model of byte pairs, as Gemma's is. Take the model's own tokenizer.")
    if trainer.HasField("vocab_size") and len(model.pieces) < trainer.vocab_size:
        raise ValueError(
            f"is not a whole SentencePiece model: it has {len(model.pieces)} of {trainer.vocab_size} pieces. Fetch it "
            "again."
        )
    return model
