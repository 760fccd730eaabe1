"""Matrices made of other matrices: what a format stores together, apart, or moved by a constant."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix


@dataclass(frozen=True, kw_only=True)
class MinusOne(Matrix):
    """A norm that is stored as 1 + w."""

    matrix: Matrix

    @classmethod
    def of(cls, matrix: Matrix) -> Self:
        """Wraps one."""
        return cls(name=matrix.name, file=matrix.file, shape=matrix.shape, type=matrix.type, matrix=matrix)

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`; in float32, or a 1 that was added in few bits would be taken away in few."""
        return np.asarray(self.matrix.numbers(rows, columns).astype(np.float32) - 1)


@dataclass(frozen=True, kw_only=True)
class Transposed(Matrix):
    """A matrix of which the file has the columns as rows."""

    matrix: Matrix

    @classmethod
    def of(cls, matrix: Matrix) -> Self:
        """Wraps one."""
        shape = matrix.shape[::-1]
        return cls(name=matrix.name, file=matrix.file, shape=shape, type=matrix.type, matrix=matrix)

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`."""
        return self.matrix.numbers(columns, rows).T


@dataclass(frozen=True, kw_only=True)
class Scaled(Matrix):
    """Integers times their scales: of a row each, in one row of scales, or of groups of neighbours in a row."""

    values: Matrix
    scales: Matrix

    @classmethod
    def of(cls, values: Matrix, scales: Matrix) -> Self:
        """Puts them together."""
        return cls(
            name=values.name, file=values.file, shape=values.shape, type=values.type, values=values, scales=scales
        )

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`; float32."""
        numbers = self.values.numbers(rows, columns).astype(np.float32)
        if self.scales.shape == (1, self.shape[0]):
            return numbers * self.scales.numbers(slice(0, 1), rows).astype(np.float32).T
        group = self.shape[1] // self.scales.shape[1]
        groups = slice(columns.start // group, -(-columns.stop // group))
        scales = self.scales.numbers(rows, groups).astype(np.float32).repeat(group, axis=1)
        skipped = columns.start - groups.start * group
        with np.errstate(invalid="ignore", over="ignore"):  # `read` refuses what is not finite
            return np.asarray(numbers * scales[:, skipped : skipped + numbers.shape[1]])


@dataclass(frozen=True, kw_only=True)
class Rows(Matrix):
    """Rows of other matrices, one part below the other."""

    parts: tuple[tuple[Matrix, range], ...]

    @classmethod
    def of(cls, parts: Sequence[tuple[Matrix, range]]) -> Self:
        """Puts parts together; a range has step 1. Name, file and type are the first one's."""
        first, _ = parts[0]
        shape = (sum(len(rows) for _, rows in parts), first.shape[1])
        return cls(name=first.name, file=first.file, shape=shape, type=first.type, parts=tuple(parts))

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`."""
        found: list[npt.NDArray[Any]] = []
        above = 0
        for matrix, part in self.parts:
            start, stop = max(rows.start - above, 0), min(rows.stop - above, len(part))
            if start < stop:
                found.append(matrix.numbers(slice(part.start + start, part.start + stop), columns))
            above += len(part)
        return found[0] if len(found) == 1 else np.concatenate(found)


@dataclass(frozen=True, kw_only=True)
class Tiles(Matrix):
    """A matrix in rectangles that are stored apart, each with its first row and column."""

    tiles: tuple[tuple[int, int, Matrix], ...]

    @classmethod
    def of(cls, name: str, file: Path, shape: tuple[int, int], tiles: Sequence[tuple[int, int, Matrix]]) -> Self:
        """Puts a grid of rectangles together.

        Raises:
          CheckpointError: they overlap, leave a hole, or are no grid.
        """
        row_end = dict(pairwise(sorted({row for row, _, _ in tiles} | {shape[0]})))
        column_end = dict(pairwise(sorted({column for _, column, _ in tiles} | {shape[1]})))
        places = {(row, column) for row, column, _ in tiles}
        if not len(places) == len(tiles) == len(row_end) * len(column_end):
            raise CheckpointError(f"{file}: the {len(tiles)} parts of tensor {name} do not fill its shape {shape}.")
        for row, column, matrix in tiles:
            wanted = (row_end.get(row, row) - row, column_end.get(column, column) - column)
            if matrix.shape != wanted:
                raise CheckpointError(
                    f"{matrix.file}: the part of tensor {name} at row {row}, column {column} has the shape "
                    f"{matrix.shape}, where its neighbours leave {wanted}."
                )
        return cls(name=name, file=file, shape=shape, type=tiles[0][2].type, tiles=tuple(tiles))

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`."""
        out: npt.NDArray[Any] | None = None
        for row, column, matrix in self.tiles:
            top, bottom = max(rows.start, row), min(rows.stop, row + matrix.shape[0])
            left, right = max(columns.start, column), min(columns.stop, column + matrix.shape[1])
            if top >= bottom or left >= right:
                continue
            part = matrix.numbers(slice(top - row, bottom - row), slice(left - column, right - column))
            if out is None:
                out = np.empty((rows.stop - rows.start, columns.stop - columns.start), part.dtype)
            if part.shape == out.shape:
                return part
            out[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = part
        assert out is not None, "Matrix.read asks for no empty part"
        return out
