"""Matrices made of other matrices read as NumPy would make them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.checkpoint import matrix as matrix_module
from sharding.checkpoint.array import ArrayMatrix
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.views import MinusOne, Rows, Scaled, Transposed

VALUES = np.arange(1, 12 * 10 + 1, dtype=np.float32).reshape(12, 10)
SCALES = np.arange(1, 12 * 2 + 1, dtype=np.float32).reshape(12, 2)


@dataclass(frozen=True, kw_only=True)
class InMemory(Matrix):
    values: npt.NDArray[Any]

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        return self.values[rows, columns]


def matrix(values: npt.NDArray[Any]) -> Matrix:
    height, width = values.shape
    return InMemory(name="w", file=Path("file"), shape=(height, width), type="F32", values=values)


def array(axes: tuple[int, ...], row_axes: int, chunk: int) -> ArrayMatrix:
    values = VALUES.reshape(axes)
    return ArrayMatrix(
        name="w",
        file=Path("file"),
        shape=VALUES.shape,
        type="F32",
        axes=axes,
        row_axes=row_axes,
        read_part=lambda index: values[index],
        chunk=chunk,
    )


VIEWS: dict[str, tuple[Callable[[], Matrix], npt.NDArray[Any]]] = {
    "norm": (lambda: MinusOne.of(matrix(VALUES)), VALUES - 1),
    "transposed": (lambda: Transposed.of(matrix(VALUES.T.copy())), VALUES),
    "scales of rows": (lambda: Scaled.of(matrix(VALUES), matrix(SCALES[:, :1].T)), VALUES * SCALES[:, :1]),
    "scales of groups": (lambda: Scaled.of(matrix(VALUES), matrix(SCALES)), VALUES * SCALES.repeat(5, axis=1)),
    "rows": (
        lambda: Rows.of([(matrix(VALUES), range(8, 12)), (matrix(-VALUES), range(0)), (matrix(-VALUES), range(3, 5))]),
        np.concatenate([VALUES[8:12], -VALUES[3:5]]),
    ),
    "array of rows": (lambda: array((3, 4, 10), 2, 1), VALUES),
    "array of columns": (lambda: array((12, 2, 5), 1, 5), VALUES),
    "array of both": (lambda: array((2, 6, 5, 2), 2, 2), VALUES),
}


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data())
def test_a_part_equals_that_part_of_the_whole(name: str, data: st.DataObject) -> None:
    make, values = VIEWS[name]
    view = make()
    assert view.shape == values.shape
    rows, columns = (
        slice(*sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size))))) for size in values.shape
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix_module, "BLOCK_BYTES", data.draw(st.sampled_from([1, 100, 2**20])))
        np.testing.assert_array_equal(view.read(rows, columns, np.float32), values[rows, columns], strict=True)


def test_chunks_are_read_whole() -> None:
    """Or each would be decoded again for every few of its rows."""
    assert array((12, 2, 5), 1, 5).rows_at_once(2**19) == 5
    assert array((3, 4, 10), 2, 2).rows_at_once(2**19) == 8
