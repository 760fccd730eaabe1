"""gemma_pytorch's checkpoints by torch.save, plain and with int8 matrices as its quantised variants have them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.forms.weights import tokenizer
from tests.oracle.random_checkpoint import Tensors


def write_gemma_pytorch(path: Path, config: dict[str, Any], tensors: Tensors) -> None:
    """One file, in float32."""
    _save(path, config, _state(config, tensors, torch.float32))


def write_gemma_pytorch_quant(path: Path, config: dict[str, Any], tensors: Tensors) -> None:
    """One file with matrices of int8 and a scale for each row."""
    state: dict[str, torch.Tensor] = {}
    for name, value in _state(config, tensors, torch.float32).items():
        if value.ndim == 2 and not value.is_complex():
            codes, scales = _quantised(value.numpy())
            state[name] = torch.tensor(codes)
            state[name.removesuffix("weight") + "weight_scaler"] = torch.tensor(scales)
        else:
            state[name] = value
    _save(path, config, state)


def write_gemma_pytorch_shards(path: Path, config: dict[str, Any], tensors: Tensors) -> None:
    """Two files with an index, in bfloat16."""
    path.mkdir()
    state = _state(config, tensors, torch.bfloat16)
    files = {name: f"pytorch_model-0000{number % 2 + 1}-of-00002.bin" for number, name in enumerate(state)}
    for file in set(files.values()):
        torch.save({name: state[name] for name, place in files.items() if place == file}, path / file)
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    (path / "tokenizer.model").write_bytes(tokenizer(config["vocab_size"]))


def int8_numbers(tensors: Tensors) -> Tensors:
    """What int8 with a scale for each row leaves of matrices."""
    found: Tensors = {}
    for name, value in tensors.items():
        if value.ndim == 2:
            codes, scales = _quantised(value)
            found[name] = codes * scales[:, None]
        else:
            found[name] = value
    return found


def _quantised(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scales = (np.abs(matrix).max(1) / 127).astype(np.float32)
    return np.rint(matrix / scales[:, None]).astype(np.int8), scales


def _state(config: dict[str, Any], tensors: Tensors, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The state of gemma_pytorch's model."""
    state = {"embedder.weight": torch.tensor(tensors["model.embed_tokens.weight"], dtype=dtype)}
    for name in tensors:
        if "k_proj" in name or "v_proj" in name or "embed_tokens" in name:
            continue
        parts = (
            [name.replace("q_proj", part) for part in ("q_proj", "k_proj", "v_proj")] if "q_proj" in name else [name]
        )
        joined = torch.cat([torch.tensor(tensors[part], dtype=dtype) for part in parts])
        state[name.replace("q_proj", "qkv_proj")] = joined
    angles = torch.outer(torch.arange(2.0 * config["max_position_embeddings"]), torch.ones(config["head_dim"] // 2))
    return state | {"freqs_cis": torch.polar(torch.ones_like(angles), angles)}


def _save(path: Path, config: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
    path.mkdir()
    torch.save({"model_state_dict": state}, path / "model.ckpt")
    (path / "tokenizer.model").write_bytes(tokenizer(config["vocab_size"]))
