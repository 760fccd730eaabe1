"""Tokenizers from the metadata of a GGUF file.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The metadata is read here and not with the
`gguf` package, whose reader makes an array per token: a minute for 262,144 tokens instead of a second.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

from serving.gateway.text.tokenizers.sentencepiece import SentencePieceTokenizer

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF value type -> struct format."""
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_PREFIX = "tokenizer.ggml."


def load_gguf(path: Path) -> SentencePieceTokenizer:
    """The tokenizer in a GGUF file's metadata, which is a SentencePiece model in other words."""
    return SentencePieceTokenizer(sentencepiece_model(path))


def sentencepiece_model(path: Path) -> ModelProto:
    """The SentencePiece model that a GGUF file's metadata describe.

    Raises:
      ValueError: they describe none.
    """
    metadata = read_metadata(path)
    if (kind := metadata.get(_PREFIX + "model")) != "llama":
        raise ValueError(f"{_PREFIX}model is {kind!r}; only SentencePiece vocabularies ('llama') are supported.")
    missing = [name for name in ("tokens", "scores", "token_type") if _PREFIX + name not in metadata]
    if missing:
        raise ValueError(f"the metadata lacks {', '.join(_PREFIX + name for name in missing)}.")
    return _sentencepiece_model(metadata)


def _sentencepiece_model(metadata: dict[str, object]) -> ModelProto:
    tokens, scores, types = (metadata[_PREFIX + name] for name in ("tokens", "scores", "token_type"))
    assert isinstance(tokens, list) and isinstance(scores, tuple) and isinstance(types, tuple)
    model = ModelProto()
    kinds = ModelProto.SentencePiece
    for token, score, kind in zip(tokens, scores, types, strict=True):
        # GGUF's token types are SentencePiece's. Converters write user-defined runs of spaces without escapes.
        text = token.replace(" ", "▁") if kind == kinds.USER_DEFINED else token
        model.pieces.add(piece=text, score=score, type=kind)
    unknown_id = metadata.get(_PREFIX + "unknown_token_id", 3)
    assert isinstance(unknown_id, int)
    model.pieces[unknown_id].type = kinds.UNKNOWN
    model.trainer_spec.MergeFrom(TrainerSpec(model_type=TrainerSpec.BPE, byte_fallback=True))
    model.trainer_spec.unk_piece = model.pieces[unknown_id].piece
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = bool(metadata.get(_PREFIX + "add_space_prefix", False))
    model.normalizer_spec.remove_extra_whitespaces = False
    return model


def read_metadata(path: Path) -> dict[str, object]:
    """All key-value pairs of a GGUF file."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError("is not a GGUF file.")
        try:
            version = _read(file, "I")
            if version not in _VERSIONS:
                raise ValueError(f"GGUF version {version} is not supported, only little-endian 2 and 3.")
            _tensors, pairs = _read(file, "Q"), _read(file, "Q")
            return {_read_string(file): _read_value(file, _read(file, "I")) for _ in range(pairs)}
        except struct.error as error:
            raise ValueError("the file ends inside its metadata.") from error


def _read_value(file: BinaryIO, kind: int) -> object:
    if kind == _STRING:
        return _read_string(file)
    if kind != _ARRAY:
        return _read(file, _scalar(kind))
    item_kind, length = _read(file, "I"), _read(file, "Q")
    if item_kind in (_STRING, _ARRAY):
        return [_read_value(file, item_kind) for _ in range(length)]
    layout = struct.Struct(f"<{length}{_scalar(item_kind)}")
    return layout.unpack(file.read(layout.size))


def _scalar(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError(f"the metadata has a value of the unknown type {kind}.")
    return _SCALARS[kind]


def _read_string(file: BinaryIO) -> str:
    length = _read(file, "Q")
    data = file.read(length)
    if len(data) < length:
        raise struct.error
    return data.decode()


def _read(file: BinaryIO, scalar: str) -> int:
    layout = struct.Struct("<" + scalar)
    value: int = layout.unpack(file.read(layout.size))[0]
    return value
