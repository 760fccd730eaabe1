"""The datasets of an HDF5 file: where they lie in it, so that parts are read without HDF5.

Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from sharding.checkpoint.array import ArrayMatrix
from sharding.checkpoint.byte_range import ByteRange, Encoding, check_apart
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.file_bytes import map_bytes

_TYPES: dict[str, tuple[str, npt.DTypeLike]] = {
    "<f4": ("F32", np.float32),
    "<f2": ("F16", np.float16),
    "bfloat16": ("BF16", ml_dtypes.bfloat16),
    "|i1": ("I8", np.int8),
}
_MAX_REASON = 300
"""Characters of an error of HDF5."""
_LISTING_PROGRAM = str(Path(__file__).with_name("hdf5_listing.py"))
_LISTING_SECONDS = 60
"""Of the clock. The program has less time of a processor, and may wait for one."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """An array that lies in a file in one piece.

    Attributes:
      stored: its bytes.
      dtype: of its numbers.
      shape: sizes of the axes.
    """

    stored: ByteRange
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def matrix(self, order: Iterable[int], row_axes: int) -> ArrayMatrix:
        """The axes in another order; so many leading ones are rows, the others columns."""
        order, stored = tuple(order), self.stored
        axes = tuple(self.shape[axis] for axis in order)

        def read_part(index: tuple[slice, ...]) -> npt.NDArray[Any]:
            mapped = map_bytes(stored.file, stored.offset, stored.end - stored.offset)
            return mapped.view(self.dtype).reshape(self.shape).transpose(order)[index]

        return ArrayMatrix(
            name=stored.name,
            file=stored.file,
            shape=(prod(axes[:row_axes]), prod(axes[row_axes:])),
            type=stored.type,
            axes=axes,
            row_axes=row_axes,
            read_part=read_part,
        )


def read_datasets(file: Path, wanted: Callable[[str], bool]) -> dict[str, Dataset]:
    """The datasets of a file, by name.

    Args:
      file: an HDF5 file.
      wanted: whether a dataset of some name is; the others may be anything.

    Raises:
      CheckpointError: the file is damaged, or stores a dataset in a way that Keras does not.
    """
    datasets: dict[str, Dataset] = {}
    for name, (kind, axes, offset) in _listed(file).items():
        if not wanted(name):
            continue
        if kind not in _TYPES:
            supported = ", ".join(_TYPES)
            raise CheckpointError(f"{file}: tensor {name} has the type {kind}; {supported} are supported.")
        shape = tuple(axes)
        if not shape or 0 in shape:
            raise CheckpointError(f"{file}: tensor {name} has the shape {shape}.")
        type_name, dtype = _TYPES[kind][0], np.dtype(_TYPES[kind][1])
        encoding = Encoding(type_name, 1, dtype.itemsize, partial(np.ndarray.view, dtype=dtype))
        datasets[name] = Dataset(ByteRange.of(name, file, shape, offset, encoding), dtype, shape)
    check_apart([dataset.stored for dataset in datasets.values()])
    return datasets


def _listed(file: Path) -> dict[str, tuple[str, list[int], int]]:
    # -P: the program's folder is not searched for modules that it imports.
    command = [sys.executable, "-P", _LISTING_PROGRAM, str(file)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # its threads reserve memory, which is limited
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=_LISTING_SECONDS, text=True, env=environment
        )
    except subprocess.TimeoutExpired:
        raise _damaged(file, f"HDF5 is not through with it after {_LISTING_SECONDS} s") from None
    if done.returncode == 0:
        listed: dict[str, tuple[str, list[int], int]] = json.loads(done.stdout)
        return listed
    if done.returncode < 0:
        raise _damaged(file, f"HDF5 ended by signal {-done.returncode}")
    raise _damaged(file, done.stderr.strip().rpartition("\n")[2][:_MAX_REASON])


def _damaged(file: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{file} cannot be read: {reason}.")
