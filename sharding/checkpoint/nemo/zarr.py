"""Distributed checkpoints of Megatron in zarr: a folder for each tensor, with `.zarray` and a file for each chunk.

Format: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html. Writer: megatron/core/dist_checkpointing/strategies/
zarr.py of Megatron-LM, which does not compress and calls bfloat16 by its name. Chunks that others
compressed are decoded whole.
"""

import json
from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import size
from sharding.checkpoint.matrix import Matrix, matrix_shape
from sharding.checkpoint.nemo.compressed import ChunkDecoder, compressed_chunk
from sharding.checkpoint.nemo.members import Extent, Members
from sharding.checkpoint.nemo.parts import Part, assembled
from sharding.checkpoint.strided import StridedMatrix

DESCRIPTION = ".zarray"

_MAX_AXES = 3
_MAX_DESCRIPTION = 2**16
_DTYPES: dict[str, tuple[str, npt.DTypeLike]] = {
    "bfloat16": ("BF16", ml_dtypes.bfloat16),
    "<f2": ("F16", np.float16),
    "<f4": ("F32", np.float32),
}


def read_zarr(members: Members, wanted: Callable[[str], bool]) -> dict[str, Matrix]:
    """The tensors whose keys are wanted, by key; leading axes are rows.

    Raises:
      CheckpointError: one is damaged, or a chunk is missing.
    """
    keys = [name.removesuffix("/" + DESCRIPTION) for name in members.extents if name.endswith("/" + DESCRIPTION)]
    folders: dict[str, dict[str, Extent]] = {key: {} for key in keys if wanted(key)}
    for name, extent in members.extents.items():
        end = len(name)
        for _ in range(min(name.count("/"), _MAX_AXES)):  # a chunk may lie in a folder for each axis
            end = name.rindex("/", 0, end)
            if (folder := folders.get(name[:end])) is not None:
                folder[name[end + 1 :]] = extent
                break
    decoder = ChunkDecoder()
    return {key: _read_array(Members(members.path / key, files), key, decoder) for key, files in folders.items()}


def _read_array(folder: Members, key: str, decoder: ChunkDecoder) -> Matrix:
    where = folder.path / DESCRIPTION
    try:
        description = json.loads(folder.read(DESCRIPTION, _MAX_DESCRIPTION))
        axes = tuple(size("shape", number) for number in description["shape"])
        chunk = tuple(size("chunks", number) for number in description["chunks"])
        compressor = description.get("compressor")
        if description.get("zarr_format") != 2 or description.get("order") != "C" or description.get("filters"):
            raise ValueError("only format 2 in C order without filters is supported")
        if description["dtype"] not in _DTYPES:
            raise ValueError(f"the dtype {str(description['dtype'])[:40]!r} is none of {', '.join(_DTYPES)}")
        if not 1 <= len(axes) == len(chunk) <= _MAX_AXES:
            raise ValueError(f"a shape of {len(axes)} and chunks of {len(chunk)} axes")
        separator = description.get("dimension_separator", ".")
        if any(whole % part for whole, part in zip(axes, chunk, strict=True)):
            raise ValueError(f"chunks of shape {chunk} do not fill its shape {axes}")
        grid = tuple(whole // part for whole, part in zip(axes, chunk, strict=True))
        if prod(grid) > len(folder.extents):
            raise ValueError(f"{len(folder.extents) - 1} of its {prod(grid)} chunks are there")
        parts = []
        for place in product(*map(range, grid)):
            name = str(separator).join(map(str, place))
            if name not in folder.extents:
                raise ValueError(f"its chunk {name} is missing")
            offsets = tuple(index * part for index, part in zip(place, chunk, strict=True))
            matrix = _chunk(key, folder.extents[name], chunk, description["dtype"], compressor, decoder)
            parts.append(Part(offsets, chunk, matrix))
    except (AttributeError, CheckpointError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = str(error).rstrip(".") if isinstance(error, ValueError | CheckpointError) else repr(error)[:100]
        raise CheckpointError(f"{where}: tensor {key}: {reason}. Fetch it again.") from error
    return assembled(key, where, axes, parts)


def _chunk(
    key: str,
    extent: Extent,
    shape: tuple[int, ...],
    dtype_name: str,
    compressor: dict[str, Any] | None,
    decoder: ChunkDecoder,
) -> Matrix:
    name, dtype = _DTYPES[dtype_name]
    dtype = np.dtype(dtype)
    nbytes = prod(shape) * dtype.itemsize
    rows, columns = matrix_shape(shape)
    if compressor is not None:
        return compressed_chunk(key, extent, (rows, columns), name, dtype, compressor, decoder)
    if extent.size != nbytes:
        raise ValueError(f"a chunk of shape {shape} takes {nbytes} bytes, but {extent.file} has {extent.size} for it")
    return StridedMatrix(
        name=key,
        file=extent.file,
        shape=(rows, columns),
        type=name,
        offset=extent.offset,
        dtype=dtype,
        axes=shape,
        strides=(columns, 1),
    )
