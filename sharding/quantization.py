"""Quantization: how matrices are stored in few bits, and the arithmetic that brings them there; NumPy, without JAX.

Symmetric, without zero points: a number is `value * scale`, with |value| at most 127 or 7. A scale belongs to an output
of int8, over all its inputs, and to a group of 32 neighbouring inputs of int4. Norms stay as they are.
"""

from enum import StrEnum
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

GROUP = 32
"""Inputs that share a scale of int4."""
SCALE_BYTES = 4
"""Scales are float32."""
_CLIPPED_TO = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Parts of a group's largest number that are tried as the largest that int4 holds."""
_ZERO = 1e-30
"""Smaller numbers become zeros; their scales would have no inverse."""


class Quantization(StrEnum):
    """What is quantised, and in how many bits.

    Attributes:
      INT8: weights for each output; activations for each token, as they come.
      INT8_WEIGHTS: weights as in INT8, and activations not.
      INT4: weights in groups, and activations not.
    """

    INT8 = "int8"
    INT8_WEIGHTS = "int8-weights"
    INT4 = "int4"

    @property
    def stored(self) -> "Quantization":
        """The member by whose name files store the same weights."""
        return Quantization.INT4 if self is Quantization.INT4 else Quantization.INT8

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return np.dtype(ml_dtypes.int4 if self is Quantization.INT4 else np.int8)

    @property
    def bits(self) -> int:
        """Of a value, in memory and in files."""
        return 4 if self is Quantization.INT4 else 8

    @property
    def maximum(self) -> int:
        """The largest absolute value."""
        return (1 << (self.bits - 1)) - 1

    def scales_shape(self, outputs: tuple[int, ...], inputs: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the scales of a matrix with these axes: `outputs`, or for groups all axes, the last divided.

        Raises:
          ValueError: the last axis is no whole number of groups.
        """
        if self is not Quantization.INT4:
            return outputs
        if inputs[-1] % GROUP:
            raise ValueError(f"int4 needs inputs in groups of {GROUP}, and this model has {inputs[-1]}. Choose int8.")
        return (*outputs, *inputs[:-1], inputs[-1] // GROUP)

    def quantise(self, matrix: npt.NDArray[np.float32]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Returns the values [out, in] and scales, [out] or [out, in / GROUP], of whole rows [out, in]."""
        grouped = matrix.reshape(len(matrix), -1, GROUP if self is Quantization.INT4 else matrix.shape[1])
        largest = np.maximum(grouped.max(-1), -grouped.min(-1))
        scales = np.where(largest > _ZERO, largest, 1).astype(np.float32) / np.float32(self.maximum)
        if self is Quantization.INT4:
            scales = self._best_scales(grouped, scales)
        values = self._round(grouped, scales)
        values = values.astype(np.int8).astype(self.dtype, copy=False).reshape(matrix.shape)
        return values, scales if self is Quantization.INT4 else scales[:, 0]

    def _round(self, grouped: npt.NDArray[np.float32], scales: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        values = np.rint(grouped * (1 / scales)[..., None])
        return np.clip(values, -self.maximum, self.maximum).astype(np.float32, copy=False)

    def _best_scales(
        self, grouped: npt.NDArray[np.float32], scales: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """The scales that give each group the least squared error, of those that clip its largest numbers a little."""
        best, least = scales, np.full(scales.shape, np.inf, np.float32)
        for part in _CLIPPED_TO:
            candidate = scales * np.float32(part)
            error = np.square(self._round(grouped, candidate) * candidate[..., None] - grouped).sum(-1)
            best, least = np.where(error < least, candidate, best), np.minimum(error, least)
        return best
