"""Google's Flax checkpoints by Orbax, with the names and axes of its Flax Gemma of February 2024."""

from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint

from tests.forms.weights import tokenizer
from tests.oracle.random_checkpoint import Tensors


def write_orbax(path: Path, config: dict[str, Any], tensors: Tensors, is_database: bool) -> None:
    """In zarr, or in a database of OCDBT."""
    orbax.checkpoint.PyTreeCheckpointer(use_ocdbt=is_database).save(path.absolute(), _tree(config, tensors))
    (path / "tokenizer.model").write_bytes(tokenizer(config["vocab_size"]))


def _tree(config: dict[str, Any], tensors: Tensors) -> dict[str, dict[str, Any]]:
    heads, keys, width = config["num_attention_heads"], config["num_key_value_heads"], config["hidden_size"]

    def by_head(matrix: Any, count: int) -> Any:
        return matrix.reshape(count, -1, width).transpose(0, 2, 1)

    tree: dict[str, dict[str, Any]] = {
        "transformer/embedder": {"input_embedding": tensors["model.embed_tokens.weight"]},
        "transformer/final_norm": {"scale": tensors["model.norm.weight"]},
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        block = {
            name.removeprefix(prefix).removesuffix(".weight"): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        q = by_head(block["self_attn.q_proj"], heads)
        k, v = (by_head(block[f"self_attn.{part}_proj"], keys) for part in "kv")
        projections = (
            {"attn/qkv_einsum": {"w": np.stack([q, k, v])}}
            if heads == keys
            else {"attn/q_einsum": {"w": q}, "attn/kv_einsum": {"w": np.stack([k, v])}}
        )
        modules = {
            "pre_attention_norm": {"scale": block["input_layernorm"]},
            "pre_ffw_norm": {"scale": block["post_attention_layernorm"]},
            **projections,
            "attn/attn_vec_einsum": {"w": block["self_attn.o_proj"].T.reshape(heads, -1, width)},
            "mlp/gating_einsum": {"w": np.stack([block["mlp.gate_proj"].T, block["mlp.up_proj"].T])},
            "mlp/linear": {"w": block["mlp.down_proj"].T},
        }
        tree |= {f"transformer/layer_{layer}/{name}": leaves for name, leaves in modules.items()}
    return tree
