"""Reads an adapter for a model that is being served."""

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sharding.adapters.adapter import Adapter, AdapterError
from sharding.adapters.forms import adapter_errors, adapter_form, adapter_version, open_adapter
from sharding.checkpoint.errors import CheckpointError
from sharding.config import GemmaConfig
from sharding.parameters import LORA_A, LORA_B, adapter_parameters

_BYTES_OF_NUMBER = 16
"""A number in 32 bits, and what NeMo has beside it of a training that may go on."""
_BYTES_BESIDE = 2**26
"""Headers, and tokenizers."""
_GZIP = b"\x1f\x8b\x08"
_BLOCK = 2**20


class NoRoomForCopyError(Exception):
    """The temporary directory takes no copy of an adapter, which is no fault of the adapter."""


def read_adapter(path: Path, config: GemmaConfig, max_rank: int) -> Adapter:
    """Reads an adapter of any form for a model.

    Args:
      path: of the adapter. Its files may change meanwhile.
      config: of the model.
      max_rank: of the adapter.

    Raises:
      AdapterError: it is damaged, is none of this model, has a higher rank, or changes something else than the
        projections of layers; names file and tensor.
      NoRoomForCopyError: a copy cannot be written.
    """
    shapes = {name: parameter.shape for name, parameter in adapter_parameters(config, 1, max_rank).items()}
    most = _BYTES_OF_NUMBER * sum(map(prod, shapes.values())) + _BYTES_BESIDE
    with adapter_errors(), _copied(path, most) as (copy, version):
        stored = open_adapter(copy)
        if stored.rank > max_rank:
            where = copy / stored.config_name if copy.is_dir() else copy
            raise AdapterError(f"{where}: its rank is {stored.rank}; max_rank is {max_rank}. Raise that.")
        weights: dict[str, npt.NDArray[np.float32]] = {}
        for name, update in stored.updates(config).items():
            a, b = update.read_a(slice(0, update.a.shape[1])), update.read_b(slice(0, update.b.shape[0]))
            weights[name + LORA_A] = a.reshape(update.rank, *shapes[name + LORA_A][2:])
            weights[name + LORA_B] = b.reshape(*shapes[name + LORA_B][:-2], update.rank)
    return Adapter(weights, version)


@contextmanager
def _copied(path: Path, most: int) -> Iterator[tuple[Path, str]]:
    """A copy of an adapter, which cannot change or shrink while it is mapped, unpacked if it is gzip; and its version.

    Raises:
      AdapterError: it has more than `most` bytes; or any error of the copy, under the name of the original.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="adapter-")
    except OSError as error:
        raise _no_room(error) from None
    with folder:
        copy = Path(folder.name) / path.name
        left = most
        for file in adapter_form(path).files(path):
            target = copy / file.relative_to(path)
            if file.stat().st_size > left:
                raise _too_large(file, most)
            with file.open("rb") as source:
                left -= _copy(file, source, target, left, most)
        try:
            version = adapter_version(copy)
            if copy.is_file():  # chunks in a directory stay as they are
                _unpack(path, copy, most)
            yield copy, version
        except (CheckpointError, OSError) as error:
            raise AdapterError(str(error).replace(str(copy), str(path))) from None


def _copy(file: Path, source: BufferedIOBase, target: Path, left: int, most: int) -> int:
    """Copies what is read of a file, `left` bytes at most; returns how many."""
    written = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            while block := _block(file, source):
                written += len(block)
                if written > left:
                    raise _too_large(file, most)
                out.write(block)
    except OSError as error:
        raise _no_room(error) from None
    return written


def _unpack(path: Path, copy: Path, most: int) -> None:
    """Puts what a copy unpacks to in its place, if it is one of gzip."""
    with copy.open("rb") as packed:
        if packed.read(len(_GZIP)) != _GZIP:
            return
        packed.seek(0)
        copy.unlink()
        with gzip.GzipFile(fileobj=packed) as source:
            _copy(path, source, copy, most, most)


def _block(file: Path, source: BufferedIOBase) -> bytes:
    try:
        return source.read(_BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AdapterError(f"{file}: damaged gzip: {error}. Fetch it again.") from None
    except OSError as error:
        raise AdapterError(f"{file}: {error.strerror}.") from None


def _too_large(file: Path, most: int) -> AdapterError:
    return AdapterError(f"{file}: an adapter of this model has {most} bytes at most, and this has more.")


def _no_room(error: OSError) -> NoRoomForCopyError:
    return NoRoomForCopyError(
        f"an adapter cannot be copied to the temporary directory: {error.strerror}. Make room there, or set TMPDIR."
    )
