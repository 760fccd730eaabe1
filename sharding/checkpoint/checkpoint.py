"""Checkpoint: a model in files, whatever their format."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Format, Tensors
from sharding.checkpoint.formats import DIRECTORIES, FORMATS
from sharding.checkpoint.quantised import QuantisedSource
from sharding.checkpoint.tokenizer import StoredTokenizer, tokenizer_file
from sharding.config import NOT_QUANTISED, GemmaConfig


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in files.

    Attributes:
      path: the file or directory.
      format: the name of its form.
      config: the model's shape, from the checkpoint's own metadata, and as what its weights are to be read.
      tensors: where its parameters are.
      tokenizer: None: there is none.
    """

    path: Path
    format: str
    config: GemmaConfig
    tensors: Tensors
    tokenizer: StoredTokenizer | None

    def quantised(self, quantization: str | None) -> "Checkpoint":
        """Returns this checkpoint, to be read as weights that are quantised so; see `GemmaConfig.quantised`."""
        return replace(self, config=self.config.quantised(quantization))

    def dequantised(self) -> "Checkpoint":
        """Returns this checkpoint, to be read as the numbers that it stands for."""
        tensors = {
            path: source.dequantised() if isinstance(source, QuantisedSource) else source
            for path, source in self.tensors.items()
        }
        return replace(self.quantised(NOT_QUANTISED), tensors=tensors)


def open_checkpoint(path: Path) -> Checkpoint:
    """Opens a file or directory of any of `FORMATS`; reads headers only.

    Raises:
      CheckpointError: nothing is there, or it is no complete checkpoint of a supported model. Names tensor and file.
    """
    with _files_named(path):
        form = _format(path)
        config = form.read_config(path)
        return Checkpoint(path, form.name, config, form.read_tensors(path, config), form.read_tokenizer(path))


def read_config(path: Path) -> GemmaConfig:
    """The shape of a model, also where its weights are not.

    Raises:
      CheckpointError: nothing is there, or no supported model.
    """
    with _files_named(path):
        return _format(path).read_config(path)


def read_tokenizer(path: Path) -> StoredTokenizer:
    """The tokenizer of a checkpoint, or the one that a file is.

    Raises:
      CheckpointError: there is none.
    """
    with _files_named(path):
        if path.is_file() and not any(form.recognises(path) for form in FORMATS):
            return tokenizer_file(path)
        found = _format(path).read_tokenizer(path)
    if found is None:
        raise CheckpointError(f"{path}: has no tokenizer. Point `tokenizer` at the model's tokenizer.")
    return found


@contextmanager
def _files_named(path: Path) -> Iterator[None]:
    """What the system does not let be read is an error like any other."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{error.filename or path} cannot be read: {error.strerror}.") from error


def _format(path: Path) -> Format:
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such file or directory.")
    for form in FORMATS:
        if form.recognises(path):
            return form
    if path.is_dir():
        return DIRECTORIES
    known = ", ".join(form.name for form in FORMATS)
    raise CheckpointError(f"{path}: is no checkpoint of a known form ({known}).")
