"""Writes a checkpoint as a directory of Hugging Face files, whatever format it comes from.

What is quantised is decoded once, here, instead of at each start; what is one file becomes several, which hosts read
side by side. Format: https://github.com/huggingface/safetensors#format.
"""

import errno
import json
import os
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from stat import S_IMODE
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save_file

from sharding.checkpoint.checkpoint import Checkpoint
from sharding.checkpoint.huggingface import CONFIG_FILE, INDEX_FILE, stored_name
from sharding.checkpoint.huggingface_config import gemma_config_to_hf
from sharding.parameters import parameters

MAX_FILE_BYTES = 2 * 10**9
"""Of one file, unless a single parameter is larger; as much is in memory while it is written."""


def write_huggingface(
    checkpoint: Checkpoint,
    directory: Path,
    dtype: npt.DTypeLike,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> None:
    """Writes `config.json`, the weights and, last, their index: without that it is no checkpoint.

    Args:
      checkpoint: what to write.
      directory: an existing one, without weights.
      dtype: of the weights: float32, float16 or ml_dtypes' bfloat16.
      on_progress: called as `on_progress(done, total)`, in bytes, after each file.
      max_file_bytes: of one file.

    Raises:
      CheckpointError: the source cannot be read.
      OSError: the target cannot be written.
    """
    config, itemsize = checkpoint.config, np.dtype(dtype).itemsize
    sizes = {path: prod(parameter.shape) * itemsize for path, parameter in parameters(config).items()}
    files = _files(sizes, max_file_bytes)
    total, done = sum(sizes.values()), 0
    weight_map: dict[str, str] = {}
    written = gemma_config_to_hf(config) | {"torch_dtype": np.dtype(dtype).name}
    (directory / CONFIG_FILE).write_text(json.dumps(written, indent=2) + "\n")
    mode = S_IMODE((directory / CONFIG_FILE).stat().st_mode)
    for number, paths in enumerate(files, start=1):
        name = f"model-{number:05}-of-{len(files):05}.safetensors"
        tensors = {}
        for path in paths:
            source = checkpoint.tensors[path]
            tensors[stored_name(path, config)] = source.read((), dtype).reshape(source.stored.shape)
        _save(tensors, directory / name, mode)
        weight_map |= dict.fromkeys(tensors, name)
        done += sum(sizes[path] for path in paths)
        on_progress(done, total)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")


def _save(tensors: dict[str, npt.NDArray[Any]], file: Path, mode: int) -> None:
    """Writes one file, with the mode of one that was made by open(): the library's are their owner's alone.

    Raises:
      OSError: it cannot be written. The library has an error of its own for that, with the system's number in its text.
    """
    try:
        save_file(tensors, file, metadata={"format": "np"})
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise OSError(errno.EIO, str(error), str(file)) from error
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from error
    file.chmod(mode)


def _files(sizes: dict[str, int], max_bytes: int) -> list[list[str]]:
    """The parameters of each file, in their order."""
    files: list[list[str]] = []
    left = 0
    for path, size in sizes.items():
        if not files or size > left:
            files.append([])
            left = max_bytes
        files[-1].append(path)
        left -= size
    return files
