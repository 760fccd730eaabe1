"""The tokenizer in a GGUF's metadata: a SentencePiece model in other words.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from collections.abc import Mapping
from typing import Any

from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.gguf.control_tokens import fim_ids
from sharding.checkpoint.gguf.header import StringArray

_PREFIX = "tokenizer.ggml."


def has_tokenizer(metadata: Mapping[str, Any]) -> bool:
    """Whether there is one, of whatever kind."""
    return _PREFIX + "model" in metadata


def tokenizer_model(metadata: Mapping[str, Any]) -> ModelProto:
    """The SentencePiece model that the metadata describe. Takes a second.

    Raises:
      CheckpointError: they describe none.
    """
    if (kind := metadata.get(_PREFIX + "model")) != "llama":
        raise CheckpointError(f"{_PREFIX}model is {kind!r}; only SentencePiece vocabularies ('llama') are supported.")
    missing = [name for name in ("tokens", "scores", "token_type") if _PREFIX + name not in metadata]
    if missing:
        raise CheckpointError(f"the metadata lacks {', '.join(_PREFIX + name for name in missing)}.")
    tokens, scores, types = (metadata[_PREFIX + name] for name in ("tokens", "scores", "token_type"))
    if not isinstance(tokens, StringArray) or not tokens.count == len(scores) == len(types):
        raise CheckpointError(f"{_PREFIX}tokens, scores and token_type are not as many as each other.")
    model = ModelProto()
    kinds = ModelProto.SentencePiece
    texts = tokens.read()
    for token, score, kind in zip(texts, scores.tolist(), types.tolist(), strict=True):
        # GGUF's token types are SentencePiece's. Converters write user-defined runs of spaces without escapes.
        text = token.replace(" ", "▁") if kind == kinds.USER_DEFINED else token
        model.pieces.add(piece=text, score=score, type=kind)
    for token_id, text in fim_ids(metadata, texts).items():
        model.pieces[token_id].piece, model.pieces[token_id].type = text, kinds.USER_DEFINED
    unknown_id = metadata.get(_PREFIX + "unknown_token_id", 3)
    if not isinstance(unknown_id, int) or not 0 <= unknown_id < len(model.pieces):
        raise CheckpointError(f"{_PREFIX}unknown_token_id={unknown_id!r} is no id of the vocabulary.")
    model.pieces[unknown_id].type = kinds.UNKNOWN
    model.trainer_spec.MergeFrom(TrainerSpec(model_type=TrainerSpec.BPE, byte_fallback=True))
    model.trainer_spec.unk_piece = model.pieces[unknown_id].piece
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = bool(metadata.get(_PREFIX + "add_space_prefix", False))
    model.normalizer_spec.remove_extra_whitespaces = False
    return model
