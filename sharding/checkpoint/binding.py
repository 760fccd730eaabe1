"""The binding of a model's parameters to the tensors of a file."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import INTEGERS, Matrix, matrix_shape
from sharding.checkpoint.quantised import QuantisedSource
from sharding.checkpoint.source import TensorSource
from sharding.config import GemmaConfig
from sharding.parameters import parameters

SCALE_SUFFIX = "_scale"
"""Of the name of a quantised tensor's scales."""


def bind(
    config: GemmaConfig,
    stored: Mapping[str, Matrix],
    name_of: Callable[[str], str],
    *,
    where: Path,
    of_one_half: bool = True,
) -> dict[str, TensorSource | QuantisedSource]:
    """Finds the stored tensor of every parameter, and the scales of a quantised one.

    Args:
      config: says which parameters there are, and which are quantised.
      stored: the tensors of the checkpoint by their name in it, without those that may be ignored.
      name_of: a parameter's path to the name of its tensor.
      where: the file or directory, for error messages.
      of_one_half: refuse float16 beside bfloat16: no writer mixes them, and one taken for the other is a finite number.

    Raises:
      CheckpointError: for a missing, a superfluous or a wrongly shaped tensor, or one of another type.
    """
    sources: dict[str, TensorSource | QuantisedSource] = {}
    unused = dict(stored)

    def take(name: str, path: str, shape: tuple[int, ...], encoding: str | None = None) -> Matrix:
        tensor = unused.pop(name, None)
        if tensor is None:
            raise CheckpointError(f"{where}: tensor {name} (parameter {path}) is missing.")
        if tensor.shape != matrix_shape(shape):
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.name} has shape {tensor.shape}; the configuration asks for "
                f"{matrix_shape(shape)}."
            )
        found = tensor.type
        if (found if found in INTEGERS else None) != encoding:
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.name} has the type {found}; the configuration asks for "
                f"{encoding or 'floating point'}."
            )
        return tensor

    for path, parameter in parameters(config).items():
        name, row_axes = name_of(path), len(parameter.outputs)
        if parameter.quantization is None:
            tensor = take(name, path, parameter.stored_shape)
            sources[path] = TensorSource(matrix=tensor, shape=parameter.shape, row_axes=row_axes)
            continue
        values = take(name, path, parameter.stored_shape, f"I{parameter.quantization.bits}")
        scales = take(name + SCALE_SUFFIX, path, parameter.stored_scales_shape)
        scales_row_axes = 0 if len(parameter.stored_scales_shape) == 1 else row_axes
        sources[path] = QuantisedSource(
            TensorSource(matrix=values, shape=parameter.shape, row_axes=row_axes),
            TensorSource(matrix=scales, shape=parameter.scales_shape, row_axes=scales_row_axes),
            parameter.quantization,
        )
    if of_one_half:
        _check_halves(stored.values())
    if unused:
        extra = unused[min(unused)]
        more = f" (and {len(unused) - 1} more)" if len(unused) > 1 else ""
        raise CheckpointError(f"{extra.file}: tensor {extra.name}{more} is not used by this model.")
    return sources


def _check_halves(tensors: Iterable[Matrix]) -> None:
    halves: dict[str, list[Matrix]] = {"F16": [], "BF16": []}
    for tensor in tensors:
        halves.get(tensor.type, []).append(tensor)
    few, many = sorted(halves.values(), key=len)
    if few:
        raise CheckpointError(
            f"{few[0].file}: tensor {few[0].name} has the type {few[0].type}, and {len(many)} others {many[0].type}: "
            "either kind may be damaged. Fetch the files again, or store both in one type."
        )
