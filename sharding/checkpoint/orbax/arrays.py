"""The arrays that Orbax wrote, through TensorStore.

Layout: zarr arrays of version 2 (https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html), in files or in a database
(https://google.github.io/tensorstore/kvstore/ocdbt). Orbax writes a chunk per device, compressed; a chunk is decoded
as a whole, whatever part of it is read.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt
import tensorstore as ts

from sharding.checkpoint.array import ArrayMatrix
from sharding.checkpoint.errors import CheckpointError

OCDBT_MANIFEST = "manifest.ocdbt"
_ARRAY_FILE = "/.zarray"
_TYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
_MAX_ARRAYS = 2**14
_MAX_CHUNK_BYTES = 2**32
"""Decoded at once. The largest that a published model has is its embedding: 3.2 GB, as float32 and in one chunk."""
_MAX_REASON = 200
"""Characters of an error of TensorStore, whose later part repeats what was to be read."""


@dataclass(frozen=True, slots=True)
class OrbaxArray:
    """An array, or a view of one; what is read of it is decoded then.

    Attributes:
      name: without the separators, which differ by the writer's version: `transformer.layer_0.attn.q_einsum.w`.
      file: the directory of the checkpoint, or of the array where it has one.
      store: the array itself.
    """

    name: str
    file: Path
    store: ts.TensorStore

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        shape: tuple[int, ...] = self.store.shape
        return shape

    @property
    def chunk(self) -> tuple[int, ...]:
        """Sizes of the axes of what is decoded together."""
        shape = self.store.chunk_layout.read_chunk.shape or ()
        return tuple(size or 1 for size in shape)

    def entry(self, index: int) -> Self:
        """One entry of the first axis."""
        return replace(self, name=f"{self.name}[{index}]", store=self.store[index])

    def first(self, count: int) -> Self:
        """No more than so many entries of the first axis."""
        return replace(self, store=self.store[: min(count, self.shape[0])])

    def transposed(self, order: Iterable[int]) -> Self:
        """The axes in another order."""
        return replace(self, store=self.store.transpose(tuple(order)))

    def matrix(self, row_axes: int) -> ArrayMatrix:
        """So many leading axes as rows, the others as columns."""
        axes = self.shape
        return ArrayMatrix(
            name=self.name,
            file=self.file,
            shape=(prod(axes[:row_axes]), prod(axes[row_axes:])),
            type=_TYPES[self.store.dtype.name],
            axes=axes,
            row_axes=row_axes,
            read_part=self._read,
            chunk=self.chunk[0],
        )

    def _read(self, index: tuple[slice, ...]) -> npt.NDArray[Any]:
        try:
            part: npt.NDArray[Any] = self.store[index].read().result()
        except (ValueError, NotImplementedError, OSError) as error:
            raise _unreadable(self.file, f"tensor {self.name}", error) from error
        return part


def open_arrays(directory: Path) -> dict[str, OrbaxArray]:
    """The arrays of a checkpoint, by name.

    Raises:
      CheckpointError: there are none, or one is damaged or of a type that no weights have.
    """
    _check_files(directory)
    files: dict[str, Any] = {"driver": "file", "path": f"{directory.absolute()}/"}
    is_database = (directory / OCDBT_MANIFEST).exists()
    kvstore = {"driver": "ocdbt", "base": files} if is_database else files
    context = ts.Context({"cache_pool": {"total_bytes_limit": 2**26}})  # an OCDBT's index, besides what is read
    try:
        keys = [
            key.decode(errors="replace") for key in ts.KvStore.open(kvstore, context=context).result().list().result()
        ]
    except (ValueError, NotImplementedError, OSError) as error:
        raise _unreadable(directory, "its index", error) from error
    if odd := next((key for key in keys if not key.isprintable()), None):
        raise CheckpointError(f"{directory}: a key of its index is {odd[:40]!r}.")
    folders = [key.removesuffix(_ARRAY_FILE) for key in keys if key.endswith(_ARRAY_FILE)]
    if not 1 <= len(folders) <= _MAX_ARRAYS:
        raise CheckpointError(f"{directory}: has {len(folders)} zarr arrays; 1 to {_MAX_ARRAYS} are expected.")
    opening = {
        folder: ts.open(
            {
                "driver": "zarr",
                "kvstore": kvstore | {"path": f"{kvstore.get('path', '')}{folder}/"},
                "fill_missing_data_reads": False,  # or what a lost chunk held would be zeros
                "recheck_cached_data": "open",
            },
            read=True,
            open=True,
            context=context,
        )
        for folder in folders
    }
    arrays: dict[str, OrbaxArray] = {}
    for folder, future in opening.items():
        name = folder.replace("/", ".")
        if name in arrays:
            raise CheckpointError(f"{directory}: tensor {name} is there twice.")
        try:
            array = OrbaxArray(name, directory if is_database else directory / folder, future.result())
        except (ValueError, NotImplementedError, OSError) as error:
            raise _unreadable(directory, f"tensor {name}", error) from error
        _check(array)
        arrays[name] = array
    return arrays


def _check_files(directory: Path) -> None:
    # TensorStore opens anything that has the name of a chunk, and waits for the writer of a pipe.
    for folder, _, names in os.walk(directory):
        if odd := next((file for name in names if not (file := Path(folder, name)).is_file()), None):
            raise CheckpointError(f"{odd} cannot be read: it is no regular file.")


def _check(array: OrbaxArray) -> None:
    kind = array.store.dtype
    if kind.name not in _TYPES:
        raise CheckpointError(
            f"{array.file}: tensor {array.name} has the type {kind.name}; {', '.join(_TYPES)} are supported."
        )
    if not array.shape or 0 in array.shape:
        raise CheckpointError(f"{array.file}: tensor {array.name} has the shape {array.shape}.")
    if prod(array.chunk) * kind.numpy_dtype.itemsize > _MAX_CHUNK_BYTES:
        raise CheckpointError(
            f"{array.file}: tensor {array.name} has chunks of shape {array.chunk}; the most is 4 GiB each."
        )


def _unreadable(file: Path, what: str, error: Exception) -> CheckpointError:
    reason = str(error).partition("\n")[0][:_MAX_REASON]
    return CheckpointError(f"{file}: {what} cannot be read: {reason}. Fetch the files again.")
