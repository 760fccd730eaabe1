"""Parts of tensors of several axes, as they are stored apart, put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix, matrix_shape
from sharding.checkpoint.views import Rows, Tiles


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a tensor.

    Attributes:
      offsets: where it begins, by axis.
      sizes: by axis.
      matrix: its numbers, all axes but the last one as rows.
    """

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    matrix: Matrix


def assembled(name: str, where: Path, axes: tuple[int, ...], parts: Sequence[Part]) -> Matrix:
    """A tensor of up to three axes (layers, rows, columns) from a grid of its parts; leading axes are rows.

    Raises:
      CheckpointError: the parts overlap or leave a hole.
    """
    if not 1 <= len(axes) <= 3 or not prod(axes):
        raise CheckpointError(f"{where}: tensor {name} has the shape {axes}; one to three axes are expected.")
    rows = axes[-2] if len(axes) > 1 else 1
    tiles: list[tuple[int, int, Matrix]] = []
    for part in parts:
        if not len(part.offsets) == len(part.sizes) == len(axes):
            raise CheckpointError(
                f"{where}: tensor {name} has {len(axes)} axes, and its part at {part.offsets} others."
            )
        layer, row, column = (*(0,) * (3 - len(axes)), *part.offsets)
        layers, height, _ = (*(1,) * (3 - len(axes)), *part.sizes)
        if layers == 1 or (layers, height) == (part.matrix.shape[0] // rows, rows):
            tiles.append((layer * rows + row, column, part.matrix))
            continue
        for index in range(layers):  # a part of the rows of several layers is no rectangle
            piece = Rows.of([(part.matrix, range(index * height, (index + 1) * height))])
            tiles.append(((layer + index) * rows + row, column, piece))
    return Tiles.of(name, where, matrix_shape(axes), tiles)
