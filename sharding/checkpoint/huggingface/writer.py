"""Writes a checkpoint as a directory of Hugging Face files, whatever format it comes from.

What a GGUF quantises is decoded once, here, instead of at each start, or quantised anew as devices multiply it; what is
one file becomes several, which hosts read side by side. Format: https://github.com/huggingface/safetensors#format.
"""

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from stat import S_IMODE
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save_file

from sharding.checkpoint.binding import SCALE_SUFFIX
from sharding.checkpoint.checkpoint import Checkpoint
from sharding.checkpoint.huggingface import CONFIG_FILE
from sharding.checkpoint.huggingface.config import gemma_config_to_hf
from sharding.checkpoint.huggingface.names import stored_name
from sharding.checkpoint.huggingface.tensors import INDEX_FILE
from sharding.checkpoint.int4 import pack_int4
from sharding.checkpoint.quantised import QuantisedSource, quantised_matrix
from sharding.checkpoint.source import TensorSource
from sharding.parameters import Parameter, parameters
from sharding.sizes import parameter_bytes

_FILE_BYTES = 2 * 10**9
"""Of one file, about, unless another number of files is asked for; as much is in memory while it is written."""


def write_huggingface(
    checkpoint: Checkpoint,
    directory: Path,
    dtype: npt.DTypeLike,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    files: int | None = None,
    is_written: Callable[[Path], bool] = lambda file: False,
    on_written: Callable[[Path], None] = lambda file: None,
) -> None:
    """Writes `config.json`, the weights and, last, their index: without that it is no checkpoint.

    Args:
      checkpoint: what to write, quantised as its `config` says.
      directory: an existing one, without weights.
      dtype: of what is not quantised: float32, float16 or ml_dtypes' bfloat16.
      on_progress: called as `on_progress(done, total)`, in bytes, after each file.
      files: how many to write at most; None: as many as files of 2 GB make.
      is_written: whether a file of weights is there already, from a conversion that did not end.
      on_written: called with each file of weights that is complete.

    Raises:
      CheckpointError: the source cannot be read.
      OSError: the target cannot be written.
    """
    config, itemsize = checkpoint.config, np.dtype(dtype).itemsize
    table = parameters(config)
    sizes = {path: parameter_bytes(parameter, itemsize) for path, parameter in table.items()}
    total, done = sum(sizes.values()), 0
    split = _split(sizes, files or -(-total // _FILE_BYTES))
    weight_map: dict[str, str] = {}
    written = gemma_config_to_hf(config) | {"torch_dtype": np.dtype(dtype).name}
    (directory / CONFIG_FILE).write_text(json.dumps(written, indent=2) + "\n")
    mode = S_IMODE((directory / CONFIG_FILE).stat().st_mode)
    for number, paths in enumerate(split, start=1):
        name = f"model-{number:05}-of-{len(split):05}.safetensors"
        if not is_written(directory / name):
            tensors: dict[str, npt.NDArray[Any]] = {}
            for path in paths:
                tensors |= _tensors(stored_name(path, config), checkpoint.tensors[path], table[path], dtype)
            _save(tensors, directory / name, mode)
            on_written(directory / name)
        for path in paths:
            weight_map |= dict.fromkeys(_names(stored_name(path, config), table[path]), name)
        done += sum(sizes[path] for path in paths)
        on_progress(done, total)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")


def _names(name: str, parameter: Parameter) -> tuple[str, ...]:
    return (name,) if parameter.quantization is None else (name, name + SCALE_SUFFIX)


def _tensors(
    name: str, source: TensorSource | QuantisedSource, parameter: Parameter, dtype: npt.DTypeLike
) -> dict[str, npt.NDArray[Any]]:
    """What one parameter is in the files, by name."""
    if parameter.quantization is None:
        return {name: source.read((), dtype).reshape(parameter.stored_shape)}
    matrix = quantised_matrix(source, parameter.quantization)
    values = matrix.values(()).reshape(parameter.stored_shape)
    if parameter.quantization.bits == 4:
        values = pack_int4(values)
    scales = matrix.scales(()).reshape(parameter.stored_scales_shape)
    return dict(zip(_names(name, parameter), (values, scales), strict=True))


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


def _split(sizes: dict[str, int], files: int) -> list[list[str]]:
    """The parameters of each file, in their order, each file about as large as the others."""
    total, before = sum(sizes.values()), 0
    split: list[list[str]] = [[] for _ in range(files)]
    for path, size in sizes.items():
        split[min(files - 1, (2 * before + size) * files // (2 * total))].append(path)  # where its middle is
        before += size
    return [paths for paths in split if paths]
