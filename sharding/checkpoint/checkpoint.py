"""Checkpoint: a model in files, whatever their format."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.gguf import read_gguf
from sharding.checkpoint.huggingface import read_huggingface, read_huggingface_config
from sharding.checkpoint.source import TensorSource
from sharding.config import GemmaConfig


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in files.

    Attributes:
      path: the file or directory.
      config: the model's shape, from the checkpoint's own metadata.
      tensors: by parameter path: where each parameter is stored, to be read slice by slice.
    """

    path: Path
    config: GemmaConfig
    tensors: Mapping[str, TensorSource]


def open_checkpoint(path: Path) -> Checkpoint:
    """Opens a GGUF file, or a directory of Hugging Face files; reads headers only.

    Raises:
      CheckpointError: nothing is there, or it is no complete checkpoint of a supported model. Names tensor and file.
    """
    if path.is_dir():
        return Checkpoint(path, *read_huggingface(path))
    if path.is_file():
        return Checkpoint(path, *read_gguf(path))
    raise CheckpointError(f"{path}: there is no such file or directory.")


def read_config(path: Path) -> GemmaConfig:
    """The shape of a model: of a directory of Hugging Face files, config.json alone is needed.

    Raises:
      CheckpointError: nothing is there, or no supported model.
    """
    return read_huggingface_config(path) if path.is_dir() else open_checkpoint(path).config
