"""Adapters in files as PEFT writes them."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from sharding.adapters import Adapter
from sharding.parameters import LORA_A

_MODULES = {
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.o": "self_attn.o_proj",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}


def peft_tensors(adapter: Adapter, factor: float = 1.0) -> dict[str, np.ndarray]:
    """By their names; `factor` is what B is to be multiplied by, and is divided out."""
    tensors = {}
    for path, weight in adapter.weights.items():
        _, layer, *rest, part = path.split(".")
        is_a = f".{part}" == LORA_A
        name = f"base_model.model.model.layers.{layer}.{_MODULES['.'.join(rest)]}.lora_{'A' if is_a else 'B'}.weight"
        matrix = weight.reshape(len(weight), -1) if is_a else weight.reshape(-1, weight.shape[-1]) / np.float32(factor)
        tensors[name] = np.ascontiguousarray(matrix)
    return tensors


def write_peft(directory: Path, tensors: Mapping[str, np.ndarray], **fields: object) -> Path:
    """Writes both files; `fields` of the configuration replace those of a plain adapter of all projections."""
    directory.mkdir(exist_ok=True)
    rank = next((tensor.shape[0] for name, tensor in tensors.items() if ".lora_A." in name), 4)
    config: dict[str, object] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "google/codegemma-2b",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.05,
        "use_rslora": False,
        "use_dora": False,
        "bias": "none",
        "modules_to_save": None,
        "init_lora_weights": True,
        "target_modules": sorted(module.rpartition(".")[2] for module in _MODULES.values()),
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    (directory / "adapter_config.json").write_text(json.dumps(config | fields))
    save_file(dict(tensors), directory / "adapter_model.safetensors")
    return directory
