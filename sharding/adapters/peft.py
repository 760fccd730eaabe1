"""LoRA adapters as PEFT writes them: a directory with `adapter_config.json` and `adapter_model.safetensors`.

Format: https://huggingface.co/docs/peft/developer_guides/checkpoint. A is `[r, in]` and B `[out, r]`; what they add is
multiplied by alpha / r, or alpha / sqrt(r) where `use_rslora` is set (arXiv 2312.03732).
"""

import hashlib
import re
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from sharding.adapters.adapter import Adapter, AdapterError
from sharding.adapters.files import CONFIG_FILE, MODEL_FILE
from sharding.adapters.peft_config import PROJECTIONS, PeftConfig, read_config
from sharding.config import GemmaConfig
from sharding.parameters import LORA_A, LORA_B, adapter_parameters

_NAME = re.compile(
    r"base_model\.model\.(?:model|language_model\.model|model\.language_model)\."
    r"(?P<module>layers\.(?P<layer>\d{1,5})\.(?:self_attn|mlp)\.(?P<projection>[a-z]+_proj))\.lora_(?P<part>[AB])\.weight"
)
"""Of a tensor; in a Gemma 3 with a vision tower the text model is called so."""
_DTYPES: dict[str, npt.DTypeLike] = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
_HEADER_BYTES = 1 << 24
_LARGEST = 1e4
"""Numbers of trained adapters are below 10; with larger ones than this a step might overflow, for all of its rows."""


def read_peft(directory: Path, config: GemmaConfig, max_rank: int) -> Adapter:
    """Reads an adapter for a model.

    Args:
      directory: of the adapter.
      config: of the model.
      max_rank: of the adapter.

    Raises:
      AdapterError: it is damaged, is none of this model, has a higher rank, or changes something else than the
        projections of layers; names file and tensor.
    """
    config_file, file = directory / CONFIG_FILE, directory / MODEL_FILE
    peft, config_bytes = read_config(config_file)
    if peft.highest_rank > max_rank:
        raise AdapterError(f"{config_file}: its rank is {peft.highest_rank}; max_rank is {max_rank}. Raise that.")
    shapes = {path: parameter.shape for path, parameter in adapter_parameters(config, 1, max_rank).items()}
    data = _read(file, 4 * sum(map(prod, shapes.values())) + _HEADER_BYTES)
    weights: dict[str, npt.NDArray[np.float32]] = {}
    try:
        tensors: list[tuple[str, dict[str, Any]]] = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise AdapterError(f"{file}: no safetensors file: {error}") from None
    for name, tensor in sorted(tensors, key=itemgetter(0)):
        path, module = _path(file, name, peft)
        if path not in shapes:
            raise AdapterError(f"{file}: tensor {name}: the model has {config.num_layers} layers. {peft.made_for}")
        weights[path] = _weight(file, name, tensor, shapes[path], peft.rank(module), peft.made_for)
        if path.endswith(LORA_B):
            weights[path] *= np.float32(peft.factor(module))
    _check_complete(file, weights, peft)
    return Adapter(weights, hashlib.sha256(config_bytes + data).hexdigest())


def _read(file: Path, most: int) -> bytes:
    try:
        size = file.stat().st_size
        if size > most:
            raise AdapterError(f"{file}: it has {size} bytes; an adapter of this model has {most} at most.")
        return file.read_bytes()
    except OSError as error:
        binary = file.with_suffix(".bin")
        remedy = f" {binary.name} is a pickle, which is not read: save it as safetensors." if binary.exists() else ""
        raise AdapterError(f"{file}: {error.strerror}.{remedy}") from None


def _path(file: Path, name: str, peft: PeftConfig) -> tuple[str, str]:
    """The parameter of a tensor, and the name of the module that it adapts."""
    match = _NAME.fullmatch(name)
    if match is None or match["projection"] not in PROJECTIONS:
        raise AdapterError(
            f"{file}: tensor {name} is no part of LoRA for {', '.join(PROJECTIONS)}; nothing else can be adapted here."
        )
    if not peft.targets(match["projection"]):
        raise AdapterError(f"{file}: tensor {name}: {CONFIG_FILE} does not name its module in target_modules.")
    part = LORA_A if match["part"] == "A" else LORA_B
    return f"layers.{int(match['layer'])}.{PROJECTIONS[match['projection']]}{part}", f"model.{match['module']}"


def _weight(
    file: Path, name: str, tensor: dict[str, Any], stacked: tuple[int, ...], rank: int, made_for: str
) -> npt.NDArray[np.float32]:
    """A [r, *in] or B [*out, r] in float32; `stacked` is the shape of our parameter, [1, R, *in] or [*out, 1, R]."""
    is_a = ".lora_A." in name
    shape = (rank, *stacked[2:]) if is_a else (*stacked[:-2], rank)
    stored = (rank, prod(shape[1:])) if is_a else (prod(shape[:-1]), rank)
    found = tuple(tensor["shape"])
    if found != stored:
        raise AdapterError(
            f"{file}: tensor {name} has shape {found}; this model and {CONFIG_FILE} ask for {stored}. {made_for}"
        )
    if tensor["dtype"] not in _DTYPES:
        raise AdapterError(f"{file}: tensor {name} has the type {tensor['dtype']}; it must be {', '.join(_DTYPES)}.")
    numbers = np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]]).astype(np.float32).reshape(shape)
    if not np.abs(numbers).max() <= _LARGEST:  # NaN is not
        raise AdapterError(f"{file}: tensor {name} has numbers above {_LARGEST:g} or none at all: it is damaged.")
    return numbers


def _check_complete(file: Path, weights: dict[str, npt.NDArray[np.float32]], peft: PeftConfig) -> None:
    for path in weights:
        other = path.removesuffix(LORA_A) + LORA_B if path.endswith(LORA_A) else path.removesuffix(LORA_B) + LORA_A
        if other not in weights:
            raise AdapterError(f"{file}: of {path} and {other} it has only the first. Fetch the file again.")
    for projection in PROJECTIONS:
        if peft.names(projection) and not any(PROJECTIONS[projection] in path for path in weights):
            raise AdapterError(f"{file}: it has no tensor for {projection}, which {CONFIG_FILE} names. Fetch it again.")
    if not weights:
        raise AdapterError(f"{file}: it has no tensors.")
