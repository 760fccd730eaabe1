"""Writes Jlama checkpoints, by the rules of its writer, and says what they stand for; needs nothing of this project."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[Any]]
BLOCK = 32
"""Numbers with a scale."""
_TYPE_NAMES = {"float32": "F32", "bfloat16": "BF16", "int8": "I8", "uint8": "Q4"}


def jlama_tensors(tensors: Tensors, kind: str, plain: tuple[str, ...] = ()) -> tuple[Tensors, Tensors]:
    """What Jlama stores of tensors by the rules of its `quantizeModel`, and what that stands for.

    Args:
      tensors: under Hugging Face's names.
      kind: `Q4` or `I8`.
      plain: parts of the names of further tensors that it leaves in bfloat16.
    """
    stored: Tensors = {}
    stood_for: Tensors = {}
    for name, value in tensors.items():
        if value.ndim == 1:
            stored[name], stood_for[name] = value[None], value
        elif any(part in name for part in plain):
            stored[name] = value.astype(ml_dtypes.bfloat16)
            stood_for[name] = stored[name].astype(np.float32)
        else:
            blocks = value.reshape(len(value), -1, BLOCK)
            codes, scales = (_q4 if kind == "Q4" else _i8)(blocks)
            stored[name], stored[name + ".qb"] = codes.reshape(len(value), -1), scales
            stood_for[name] = (_numbers(codes) * scales[..., None]).reshape(value.shape)
    return stored, stood_for


def _q4(blocks: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)[..., 0]
    scales = (largest / -8).astype(np.float32)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    codes = np.minimum(15, (blocks * inverse[..., None] + 8.5).astype(np.int8)).astype(np.uint8)
    return np.asarray(codes[..., : BLOCK // 2] | codes[..., BLOCK // 2 :] << 4, np.uint8), scales


def _i8(blocks: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    scales = (np.abs(blocks).max(-1) / 127).astype(np.float32)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    return np.rint(blocks * inverse[..., None]).astype(np.int8), scales


def _numbers(codes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if codes.dtype == np.int8:
        return codes.astype(np.float32)
    return np.concatenate([codes & 0xF, codes >> 4], -1).astype(np.float32) - 8


def write_jlama(directory: Path, config: Mapping[str, Any], stored: Tensors) -> Path:
    """Writes `config.json` and one file: a header without padding and without `__metadata__`, then the tensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    header: dict[str, Any] = {}
    offset = 0
    for name, value in stored.items():
        kind = _TYPE_NAMES[value.dtype.name]
        shape = [value.shape[0], value.shape[1] * 2 if kind == "Q4" else value.shape[1]]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header).encode()
    data = b"".join(value.tobytes() for value in stored.values())
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return directory
