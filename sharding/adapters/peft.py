"""LoRA adapters as PEFT writes them: a directory with `adapter_config.json` and `adapter_model.safetensors`.

Format: https://huggingface.co/docs/peft/developer_guides/checkpoint. A is `[r, in]` and B `[out, r]`; what they add is
multiplied by alpha / r, or alpha / sqrt(r) where `use_rslora` is set (arXiv 2312.03732).
"""

import re
from collections.abc import Mapping
from pathlib import Path

from sharding.adapters.adapter import AdapterError
from sharding.adapters.files import CONFIG_FILE, MODEL_FILE, is_peft
from sharding.adapters.form import AdapterForm
from sharding.adapters.peft_config import PROJECTIONS, PeftConfig, read_config
from sharding.adapters.stored import StoredAdapter
from sharding.adapters.update import LoraUpdate
from sharding.checkpoint.huggingface.safetensors import PLAIN, read_header
from sharding.checkpoint.matrix import Matrix

_NAME = re.compile(
    r"base_model\.model\.(?:model|language_model\.model|model\.language_model)\."
    r"(?P<module>layers\.(?P<layer>\d{1,5})\.(?:self_attn|mlp)\.(?P<projection>[a-z]+_proj))\.lora_(?P<part>[AB])\.weight"
)
"""Of a tensor; in a Gemma 3 with a vision tower the text model is called so."""
_ENCODINGS = {name: PLAIN[name] for name in ("F32", "F16", "BF16")}


def _files(path: Path) -> list[Path]:
    config_file, file = path / CONFIG_FILE, path / MODEL_FILE
    if not file.is_file():
        binary = file.with_suffix(".bin")
        remedy = f" {binary.name} is a pickle, which is not read: save it as safetensors." if binary.exists() else ""
        raise AdapterError(f"{file}: No such file or directory.{remedy}")
    return [config_file, file]


def _open(path: Path) -> StoredAdapter:
    config_file, file = _files(path)
    peft = read_config(config_file)
    tensors = read_header(file, _ENCODINGS)
    updates = _updates(file, tensors, peft)
    return StoredAdapter(
        form=PEFT.name,
        path=path,
        rank=peft.highest_rank,
        made_for=peft.base_model,
        tensors=tensors,
        projections=tuple(dict.fromkeys(name.split(".", 2)[2] for name in updates)),
        updates_of=lambda config: updates,
        config_name=CONFIG_FILE,
    )


def _updates(file: Path, tensors: Mapping[str, Matrix], peft: PeftConfig) -> dict[str, LoraUpdate]:
    """By the paths of projections."""
    parts: dict[str, dict[str, Matrix]] = {}
    modules: dict[str, str] = {}
    for name in sorted(tensors):
        match = _NAME.fullmatch(name)
        if match is None or match["projection"] not in PROJECTIONS:
            raise AdapterError(
                f"{file}: tensor {name} is no part of LoRA for {', '.join(PROJECTIONS)}; nothing else can be adapted "
                "here."
            )
        if not peft.targets(match["projection"]):
            raise AdapterError(f"{file}: tensor {name}: {CONFIG_FILE} does not name its module in target_modules.")
        path = f"layers.{int(match['layer'])}.{PROJECTIONS[match['projection']]}"
        modules[path] = f"model.{match['module']}"
        if parts.setdefault(path, {}).setdefault(match["part"], tensors[name]) is not tensors[name]:
            raise AdapterError(f"{file}: tensor {name} is there twice, as {parts[path][match['part']].name} too.")
    for path, found in parts.items():
        if len(found) == 1:
            [only] = found.values()
            raise AdapterError(f"{file}: of A and B of {path} it has only {only.name}. Fetch the file again.")
    for projection in PROJECTIONS:
        if peft.names(projection) and not any(path.endswith(PROJECTIONS[projection]) for path in parts):
            raise AdapterError(f"{file}: it has no tensor for {projection}, which {CONFIG_FILE} names. Fetch it again.")
    if not parts:
        raise AdapterError(f"{file}: it has no tensors.")
    return {
        path: LoraUpdate(a=found["A"], b=found["B"], rank=peft.rank(modules[path]), factor=peft.factor(modules[path]))
        for path, found in parts.items()
    }


PEFT = AdapterForm("PEFT", is_peft, is_peft, _files, _open)
