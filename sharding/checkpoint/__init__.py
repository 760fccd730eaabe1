"""Checkpoints: one module per format, each giving the model's parameters by path to the same loader.

Opening one needs no JAX; loading (`sharding.checkpoint.loader`) does.

Matrices keep the `[out, in]` order that all formats store, split into the model's axes; norms are the raw w of 1 + w.
"""

from sharding.checkpoint.checkpoint import Checkpoint, open_checkpoint, read_config, read_tokenizer
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.source import TensorSource

__all__ = ["Checkpoint", "CheckpointError", "TensorSource", "open_checkpoint", "read_config", "read_tokenizer"]
