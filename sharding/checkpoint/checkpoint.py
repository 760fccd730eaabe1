"""Checkpoint: a model in files, whatever their format."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.gguf import read_gguf
from sharding.checkpoint.huggingface import read_huggingface, read_huggingface_config
from sharding.checkpoint.quantised import QuantisedSource
from sharding.checkpoint.source import TensorSource
from sharding.config import GemmaConfig


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in files.

    Attributes:
      path: the file or directory.
      config: the model's shape, from the checkpoint's own metadata, and as what its weights are to be read.
      tensors: by parameter path: where each parameter is stored, to be read slice by slice.
    """

    path: Path
    config: GemmaConfig
    tensors: Mapping[str, TensorSource | QuantisedSource]

    def quantised(self, quantization: str | None) -> "Checkpoint":
        """Returns this checkpoint, to be read as weights that are quantised so; None: as it is stored.

        Raises:
          CheckpointError: it is quantised already, in another way.
        """
        try:
            return replace(self, config=self.config.quantised(quantization))
        except ValueError as error:
            raise CheckpointError(f"{self.path}: {error}") from None


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
