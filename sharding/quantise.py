"""The arithmetic that brings matrices into few bits; see `sharding.quantization`."""

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from sharding.quantization import GROUP, Quantization

_CLIPPED_TO = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Parts of a group's largest number that are tried as the largest that int4 holds."""
_ZERO = 1e-30
"""Smaller numbers become zeros; their scales would have no inverse."""


def dtype_of(quantization: Quantization) -> np.dtype[Any]:
    """Of the values."""
    return np.dtype(ml_dtypes.int4 if quantization is Quantization.INT4 else np.int8)


def quantise(
    matrix: npt.NDArray[np.float32], quantization: Quantization
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Returns the values [out, in] and scales, [out] or in groups [out, in / GROUP], of whole rows [out, in]."""
    grouped = matrix.reshape(len(matrix), -1, GROUP if quantization.grouped else matrix.shape[1])
    largest = np.maximum(grouped.max(-1), -grouped.min(-1))
    scales = np.where(largest > _ZERO, largest, 1).astype(np.float32) / np.float32(quantization.maximum)
    if quantization is Quantization.INT4:
        scales = _best_scales(grouped, scales, quantization.maximum)
    values = _round(grouped, scales, quantization.maximum)
    values = values.astype(np.int8).astype(dtype_of(quantization), copy=False).reshape(matrix.shape)
    return values, scales if quantization.grouped else scales[:, 0]


def _round(grouped: npt.NDArray[np.float32], scales: npt.NDArray[np.float32], maximum: int) -> npt.NDArray[np.float32]:
    values = np.rint(grouped * (1 / scales)[..., None])
    return np.clip(values, -maximum, maximum).astype(np.float32, copy=False)


def _best_scales(
    grouped: npt.NDArray[np.float32], scales: npt.NDArray[np.float32], maximum: int
) -> npt.NDArray[np.float32]:
    """The scales that give each group the least squared error, of those that clip its largest numbers a little."""
    best, least = scales, np.full(scales.shape, np.inf, np.float32)
    for part in _CLIPPED_TO:
        candidate = scales * np.float32(part)
        error = np.square(_round(grouped, candidate, maximum) * candidate[..., None] - grouped).sum(-1)
        best, least = np.where(error < least, candidate, best), np.minimum(error, least)
    return best
