"""Checkpoints: one module per format, each giving the model's parameters by path to the same loader.

Matrices keep the `[out, in]` order that all formats store, split into the model's axes; norms are the raw w of 1 + w.
"""

from sharding.checkpoint.checkpoint import Checkpoint, open_checkpoint
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.loader import OnProgress, load
from sharding.checkpoint.source import TensorSource

__all__ = ["Checkpoint", "CheckpointError", "OnProgress", "TensorSource", "load", "open_checkpoint"]
