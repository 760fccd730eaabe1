"""Adapters in files as NeMo writes them, by the rules of its forms and without NeMo, Megatron or torch."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sharding.adapters import Adapter
from sharding.config import GemmaConfig
from sharding.parameters import LORA_A, LORA_B
from tests.sharding.checkpoint.files import Tensors
from tests.sharding.checkpoint.nemo_archives import archived
from tests.sharding.checkpoint.nemo_files import stacked, write_ranks, write_torch_dist, write_zarr
from tests.sharding.random_adapters import random_adapter

type Names = Mapping[tuple[str, ...], str]
"""What adapts which of our projections."""

QKV, FC1 = ("attention.q", "attention.k", "attention.v"), ("mlp.gate", "mlp.up")
NEMO1: Names = {
    QKV: "self_attention.adapter_layer.lora_kqv_adapter",
    ("attention.o",): "self_attention.adapter_layer.lora_dense_attention_adapter",
    FC1: "mlp.adapter_layer.lora_hto4h_adapter",
    ("mlp.down",): "mlp.adapter_layer.lora_4htoh_adapter",
}
NEMO1_UNFUSED: Names = {
    ("attention.q",): "self_attention.adapter_layer.lora_unfused_kqv_adapter.q_adapter",
    ("attention.k",): "self_attention.adapter_layer.lora_unfused_kqv_adapter.k_adapter",
    ("attention.v",): "self_attention.adapter_layer.lora_unfused_kqv_adapter.v_adapter",
    ("attention.o",): "self_attention.adapter_layer.lora_dense_attention_adapter",
    ("mlp.gate",): "mlp.adapter_layer.lora_unfused_hto4h_adapter.gate_adapter",
    ("mlp.up",): "mlp.adapter_layer.lora_unfused_hto4h_adapter.up_adapter",
    ("mlp.down",): "mlp.adapter_layer.lora_4htoh_adapter",
}
NEMO2: Names = {
    QKV: "self_attention.linear_qkv.adapter",
    ("attention.o",): "self_attention.linear_proj.adapter",
    FC1: "mlp.linear_fc1.adapter",
    ("mlp.down",): "mlp.linear_fc2.adapter",
}
NEMO2_CANONICAL: Names = {
    ("attention.q",): "self_attention.linear_qkv.adapter.adapter_q",
    ("attention.k",): "self_attention.linear_qkv.adapter.adapter_k",
    ("attention.v",): "self_attention.linear_qkv.adapter.adapter_v",
    ("attention.o",): "self_attention.linear_proj.adapter",
    ("mlp.gate",): "mlp.linear_fc1.adapter.adapter_gate",
    ("mlp.up",): "mlp.linear_fc1.adapter.adapter_up",
    ("mlp.down",): "mlp.linear_fc2.adapter",
}
RANK, ALPHA = 4, 8
FACTOR = ALPHA / RANK
BASE = "/models/codegemma-7b.nemo"


def fused_adapter(config: GemmaConfig, seed: int = 1, rank: int = RANK) -> Adapter:
    """A random one, of which q, k and v have one A, and so have gate and up."""
    weights = dict(random_adapter(config, seed, rank).weights)
    for layer in range(config.num_layers):
        for first, *others in (QKV, FC1):
            for other in others:
                weights[f"layers.{layer}.{other}{LORA_A}"] = weights[f"layers.{layer}.{first}{LORA_A}"]
    return Adapter(weights, "")


def nemo_tensors(adapter: Adapter, config: GemmaConfig, names: Names = NEMO1, factor: float = FACTOR) -> Tensors:
    """Under NeMo's names, without what wrappers put before them; B is divided by `factor`."""
    found: Tensors = {}
    for layer in range(config.num_layers):
        for projections, module in names.items():
            a = adapter.weights[f"layers.{layer}.{projections[0]}{LORA_A}"]
            bs = [adapter.weights[f"layers.{layer}.{each}{LORA_B}"] for each in projections]
            if projections == QKV:  # group after group
                groups = [each.reshape(config.num_kv_heads, -1, each.shape[-1]) for each in bs]
                b = np.concatenate(groups, 1)
            else:
                b = np.concatenate([each.reshape(-1, each.shape[-1]) for each in bs])
            where = f"decoder.layers.{layer}.{module}."
            found[f"{where}linear_in.weight"] = np.ascontiguousarray(a.reshape(len(a), -1))
            found[f"{where}linear_out.weight"] = b.reshape(-1, b.shape[-1]) / np.float32(factor)
    return found


def write_nemo1_config(directory: Path, config: GemmaConfig, lora: Mapping[str, Any] = {}, **changes: Any) -> Path:
    """The `model_config.yaml` of an adapter; `lora` replaces fields of `lora_tuning`."""
    directory.mkdir(parents=True, exist_ok=True)
    tuning = {"target_modules": ["all"], "adapter_dim": RANK, "alpha": ALPHA, "adapter_dropout": 0.1, **lora}
    peft = {"peft_scheme": "lora", "restore_from_path": BASE, "lora_tuning": tuning}
    fields = {"num_layers": config.num_layers, "hidden_size": config.embed_dim, "mcore_gpt": True, "peft": peft}
    (directory / "model_config.yaml").write_text(yaml.safe_dump(fields | changes))
    return directory


def write_nemo2_config(directory: Path, lora: Mapping[str, Any] = {}, kind: str = "lora.LoRA") -> Path:
    """The context and the metadata of an adapter; `lora` replaces fields of it."""
    (directory / "context").mkdir(parents=True)
    transform = {"_target_": f"nemo.collections.llm.peft.{kind}", "dim": RANK, "alpha": ALPHA, "dropout": 0.0, **lora}
    model = {
        "_target_": "nemo.collections.llm.gpt.model.gemma.GemmaModel",
        "config": {"_target_": "nemo.collections.llm.gpt.model.gemma.GemmaConfig2B"},
        "model_transform": transform,
    }
    (directory / "context" / "model.yaml").write_text(yaml.safe_dump(model))
    return directory


def with_metadata(directory: Path) -> Path:
    """Adds what says which model it was made for, beside the weights."""
    (directory / "weights" / "adapter_metadata.json").write_text(json.dumps({"model_ckpt_path": BASE}))
    return directory


def write_flat(
    directory: Path,
    adapter: Adapter,
    config: GemmaConfig,
    tensor_ranks: int = 1,
    stages: int = 1,
    names: Names = NEMO1,
) -> Path:
    """NeMo 1 with a file of weights for each rank."""
    write_nemo1_config(directory, config, tensor_model_parallel_size=tensor_ranks, pipeline_model_parallel_size=stages)
    tensors = nemo_tensors(adapter, config, names)
    write_ranks(directory, tensors, config.num_layers, tensor_ranks, stages)
    return directory


def write_nemo(file: Path, adapter: Adapter, config: GemmaConfig, is_compressed: bool = False) -> Path:
    """NeMo 1's archive."""
    folder = write_flat(file.with_name(file.name + ".d"), adapter, config)
    return archived(folder, file, "w:gz" if is_compressed else "w:")


def write_nemo1_distributed(directory: Path, adapter: Adapter, config: GemmaConfig, is_zarr: bool, ranks: int) -> Path:
    """NeMo 1 with a distributed checkpoint, which has fc1's B rank after rank."""
    tensors = nemo_tensors(adapter, config)
    for name, value in tensors.items():
        if name.endswith("lora_hto4h_adapter.linear_out.weight"):
            gate, up = (np.split(half, ranks) for half in np.split(value, 2))
            tensors[name] = np.concatenate([part for pair in zip(gate, up, strict=True) for part in pair])
    folder = write_nemo1_config(directory, config, tensor_model_parallel_size=ranks) / "model_weights"
    if is_zarr:
        write_zarr(folder, stacked(tensors), "model.")
    else:
        write_torch_dist(folder, stacked(tensors), "model.module.")
    return directory


def write_nemo2(
    directory: Path,
    adapter: Adapter,
    config: GemmaConfig,
    is_stacked: bool = True,
    names: Names = NEMO2,
) -> Path:
    """NeMo 2's directory."""
    write_nemo2_config(directory, kind="lora.LoRA" if names is NEMO2 else "canonical_lora.CanonicalLoRA")
    tensors = nemo_tensors(adapter, config, names)
    write_torch_dist(directory / "weights", stacked(tensors) if is_stacked else tensors, "module.", 2)
    return with_metadata(directory)


NEMO_LAYOUTS: dict[str, Callable[..., Path]] = {
    "flat": write_flat,
    "2 x 1 ranks": partial(write_flat, tensor_ranks=2),
    "2 x 2 ranks": partial(write_flat, tensor_ranks=2, stages=2),
    "unfused": partial(write_flat, names=NEMO1_UNFUSED),
    "tar": write_nemo,
    "tar.gz": partial(write_nemo, is_compressed=True),
    "torch_dist": partial(write_nemo1_distributed, is_zarr=False, ranks=1),
    "zarr of 2 ranks": partial(write_nemo1_distributed, is_zarr=True, ranks=2),
    "NeMo 2": write_nemo2,
    "NeMo 2 by layer": partial(write_nemo2, is_stacked=False),
}
"""Each writes one, from an adapter of which q, k and v, and gate and up, have one A."""
