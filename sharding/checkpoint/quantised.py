"""Matrices of few bits: read as they are stored, decoded, or quantised as they are read."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.grouped import GroupedMatrix
from sharding.checkpoint.source import TensorSource
from sharding.checkpoint.views import Scaled
from sharding.quantise import dtype_of, quantise
from sharding.quantization import Quantization

_BLOCK_NUMBERS = 2**21
"""Quantised at a time by one thread."""

_QUANTISERS = ThreadPoolExecutor(4, thread_name_prefix="quantise")


class QuantisedMatrix(Protocol):
    """A quantised parameter in a checkpoint; an index has one slice per axis, a missing one is the whole axis."""

    def values(self, index: tuple[slice, ...]) -> npt.NDArray[Any]:
        """Reads a part of the values, `[*out, *in]`."""
        ...

    def scales(self, index: tuple[slice, ...]) -> npt.NDArray[np.float32]:
        """Reads a part of the scales, `[*out]` or `[*out, *in]` with the last axis in groups."""
        ...


@dataclass(frozen=True, slots=True)
class QuantisedSource:
    """A quantised parameter and where both its parts are stored.

    Attributes:
      stored_values: integers.
      stored_scales: float32.
      quantization: of both.
    """

    stored_values: TensorSource
    stored_scales: TensorSource
    quantization: Quantization

    @property
    def name(self) -> str:
        """The name of the values in the file."""
        return self.stored_values.name

    @property
    def file(self) -> Path:
        """The file that holds the values."""
        return self.stored_values.file

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of our parameter."""
        return self.stored_values.shape

    def dequantised(self) -> TensorSource:
        """The numbers that it stands for."""
        matrix = Scaled.of(self.stored_values.matrix, self.stored_scales.matrix)
        return TensorSource(matrix=matrix, shape=self.shape, row_axes=self.stored_values.row_axes)

    def read(self, index: tuple[slice, ...], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
        """See `TensorSource`; decoded."""
        return self.dequantised().read(index, dtype)

    @property
    def row_axes(self) -> int:
        """See `TensorSource`."""
        return self.stored_values.row_axes

    def values(self, index: tuple[slice, ...]) -> npt.NDArray[Any]:
        """See `QuantisedMatrix`."""
        return self.stored_values.read(index, dtype_of(self.quantization))

    def scales(self, index: tuple[slice, ...]) -> npt.NDArray[np.float32]:
        """See `QuantisedMatrix`."""
        return self.stored_scales.read(index, np.float32)


def quantised_matrix(source: TensorSource | QuantisedSource, quantization: Quantization) -> QuantisedMatrix:
    """What a source is in few bits: as it is stored, if `quantization` holds that, or quantised as it is read."""
    stored = _grouped(source) if isinstance(source, TensorSource) else source
    if stored is not None and stored.quantization.held_by(quantization):
        return replace(stored, quantization=quantization)
    return Quantiser(source, quantization)


def _grouped(source: TensorSource) -> QuantisedSource | None:
    matrix = source.matrix
    if not isinstance(matrix, GroupedMatrix):
        return None
    outputs, inputs = source.shape[: source.row_axes], source.shape[source.row_axes :]
    scales_shape = matrix.quantization.scales_shape(outputs, inputs)
    return QuantisedSource(
        replace(source, matrix=matrix.values),
        replace(source, matrix=matrix.scales, shape=scales_shape),
        matrix.quantization,
    )


class Quantiser:
    """A parameter that is quantised as it is read.

    A scale is that of a whole row or group, whatever part of it a device holds. So rows are read whole and once; what
    was read is kept, as integers, until this object goes.
    """

    def __init__(self, source: TensorSource | QuantisedSource, quantization: Quantization) -> None:
        self._source = source
        self._quantization = quantization
        self._outputs = source.row_axes
        self._rows: dict[tuple[range, ...], tuple[npt.NDArray[Any], npt.NDArray[np.float32]]] = {}

    def values(self, index: tuple[slice, ...]) -> npt.NDArray[Any]:
        """See `QuantisedMatrix`."""
        return self._read(index)[0][self._inputs(index)]

    def scales(self, index: tuple[slice, ...]) -> npt.NDArray[np.float32]:
        """See `QuantisedMatrix`."""
        return self._read(index)[1][self._inputs(index)]

    def _inputs(self, index: tuple[slice, ...]) -> tuple[slice, ...]:
        return (*(slice(None),) * self._outputs, *index[self._outputs :])

    def _read(self, index: tuple[slice, ...]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        shape = self._source.shape[: self._outputs]
        padded = (*index[: self._outputs], *(slice(None),) * (self._outputs - len(index)))
        outputs = tuple(range(size)[part] for size, part in zip(shape, padded, strict=True))
        if outputs not in self._rows:
            self._rows[outputs] = self._quantise(outputs)
        return self._rows[outputs]

    def _quantise(self, outputs: tuple[range, ...]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        inputs, sizes = self._source.shape[self._outputs :], tuple(map(len, outputs))
        values = np.empty((*sizes, *inputs), dtype_of(self._quantization))
        scales = np.empty(self._quantization.scales_shape(sizes, inputs), np.float32)
        step = max(1, _BLOCK_NUMBERS // prod(values.shape[1:]))

        def quantise_block(start: int) -> None:
            first, *others = (slice(part.start, part.stop) for part in outputs)
            rows = self._source.read((slice(first.start + start, min(first.start + start + step, first.stop)), *others))
            part_values, part_scales = quantise(rows.reshape(-1, prod(inputs)), self._quantization)
            block = slice(start, start + len(rows))
            values[block] = part_values.reshape(rows.shape)
            scales[block] = part_scales.reshape(scales[block].shape)

        for _ in _QUANTISERS.map(quantise_block, range(0, sizes[0], step)):
            pass  # the first error is raised here
        return values, scales
