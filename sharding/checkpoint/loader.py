"""Loads a checkpoint onto devices, each parameter straight to its sharding."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from sharding.checkpoint.checkpoint import Checkpoint
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.quantised import QuantisedSource, quantised_matrix
from sharding.checkpoint.source import TensorSource
from sharding.weights import AbstractWeight, QuantisedWeight, Weight

OnProgress = Callable[[str, int, int], None]
"""Called with the path of the parameter just loaded, the bytes loaded so far, and the bytes in all."""


def load(
    checkpoint: Checkpoint, abstract: Mapping[str, AbstractWeight], on_progress: OnProgress | None = None
) -> dict[str, Weight]:
    """Loads the parameters that a model asks for.

    One parameter at a time is read, each device's slice of it straight from the file and cast or quantised on the way,
    so that host memory holds at most one parameter besides what the devices keep.

    Args:
      checkpoint: where to read.
      abstract: by parameter path: shape, dtype, and the format to load to (None: the default device). What the
        checkpoint has in another way is decoded, or quantised, on the way.
      on_progress: told after every parameter.

    Raises:
      CheckpointError: the checkpoint lacks a parameter, has one more, or has it in another shape.
    """
    _check(checkpoint, abstract)
    total = sum(_nbytes(parameter) for parameter in abstract.values())
    weights: dict[str, Weight] = {}
    done = 0
    for path, parameter in abstract.items():
        weights[path] = _load_one(checkpoint.tensors[path], parameter)
        done += _nbytes(parameter)
        if on_progress is not None:
            on_progress(path, done, total)
    return weights


def _load_one(source: TensorSource | QuantisedSource, abstract: AbstractWeight) -> Weight:
    if isinstance(abstract, QuantisedWeight):
        matrix = quantised_matrix(source, abstract.quantization)
        values, scales = _place(abstract.values, matrix.values), _place(abstract.scales, matrix.scales)
        return QuantisedWeight(values, scales, abstract.quantization, abstract.dtype)
    return _place(abstract, lambda index: source.read(index, abstract.dtype))


def _place(abstract: jax.ShapeDtypeStruct, read: Callable[[tuple[slice, ...]], npt.NDArray[Any]]) -> jax.Array:
    where = abstract.format if abstract.sharding else jax.sharding.SingleDeviceSharding(jax.devices()[0])
    array: jax.Array = jax.make_array_from_callback(
        abstract.shape, where, lambda index: read(index or ()), dtype=abstract.dtype
    )
    # Wait for the copy, or the slices of several parameters would be in host memory at once.
    jax.block_until_ready(array)
    return array


def _check(checkpoint: Checkpoint, abstract: Mapping[str, AbstractWeight]) -> None:
    missing, extra = abstract.keys() - checkpoint.tensors.keys(), checkpoint.tensors.keys() - abstract.keys()
    if missing:
        raise CheckpointError(f"{checkpoint.path}: the model's parameter {min(missing)} is missing.")
    if extra:
        source = checkpoint.tensors[min(extra)]
        raise CheckpointError(f"{source.file}: tensor {source.name} ({min(extra)}) is no parameter of the model.")
    for path, parameter in abstract.items():
        source = checkpoint.tensors[path]
        if source.shape != parameter.shape:
            raise CheckpointError(
                f"{source.file}: tensor {source.name} gives {path} the shape {source.shape}; the model's is "
                f"{parameter.shape}."
            )


def _nbytes(abstract: AbstractWeight) -> int:
    return sum(prod(array.shape) * np.dtype(array.dtype).itemsize for array in jax.tree.leaves(abstract))
