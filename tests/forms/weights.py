"""The models that are written in every form: random weights that all forms can hold, and a tokenizer."""

from typing import Any

import ml_dtypes
import numpy as np
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER
from tests.oracle.random_checkpoint import CONFIGS, Tensors, random_tensors

MODELS = {name: CONFIGS[name] for name in ("gemma-mqa", "gemma-mha")}
"""config.json by name: the head layouts of CodeGemma 2B and 7B."""
_NORM_STEP = 2.0**-7
"""Of bfloat16 below 2: such a w is exact, and so is 1 + w, which some forms store."""


def weights(config: dict[str, Any], seed: int) -> Tensors:
    """Random weights that bfloat16 holds exactly, as those of the published models."""
    found: Tensors = {}
    for name, value in random_tensors(config, seed).items():
        if "norm" in name:
            found[name] = np.clip(np.rint(value / _NORM_STEP) * _NORM_STEP, -0.9375, 0.9375).astype(np.float32)
        else:
            found[name] = value.astype(ml_dtypes.bfloat16).astype(np.float32)
    return found


def tokenizer(vocab_size: int) -> bytes:
    """The first pieces of CodeGemma's SentencePiece model: control tokens, bytes and the first merges."""
    model = ModelProto.FromString(CODEGEMMA_TOKENIZER.read_bytes())
    del model.pieces[vocab_size:]
    model.trainer_spec.vocab_size = vocab_size
    return bytes(model.SerializeToString())
