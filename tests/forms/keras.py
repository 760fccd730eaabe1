"""Keras presets by KerasHub on Keras."""

import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras_hub
import numpy as np
import torch

from tests.forms.weights import tokenizer
from tests.oracle.random_checkpoint import Tensors


def write_keras(
    path: Path, config: dict[str, Any], tensors: Tensors, dtype: str = "float32", shard_gb: float = 10
) -> None:
    """By `save_to_preset`."""
    _backbone(config, tensors, dtype).save_to_preset(str(path), max_shard_size=shard_gb)
    assets = path / "assets" / "tokenizer"
    assets.mkdir(parents=True)
    (assets / "vocabulary.spm").write_bytes(tokenizer(config["vocab_size"]))


def keras_logits(config: dict[str, Any], tensors: Tensors, prompt: list[int]) -> np.ndarray:
    """KerasHub's own, after a prompt: [V]."""
    backbone, ids = _backbone(config, tensors, "float32"), torch.tensor([prompt])
    hidden = backbone({"token_ids": ids, "padding_mask": torch.ones(ids.shape, dtype=torch.bool)})
    logits: np.ndarray = backbone.token_embedding(hidden, reverse=True)[0, -1].detach().cpu().numpy()
    return logits


def _backbone(config: dict[str, Any], tensors: Tensors, dtype: str) -> keras_hub.models.GemmaBackbone:
    """KerasHub's model of these weights."""
    heads, keys = config["num_attention_heads"], config["num_key_value_heads"]
    backbone = keras_hub.models.GemmaBackbone(
        vocabulary_size=config["vocab_size"],
        num_layers=config["num_hidden_layers"],
        num_query_heads=heads,
        num_key_value_heads=keys,
        hidden_dim=config["hidden_size"],
        intermediate_dim=2 * config["intermediate_size"],
        head_dim=config["head_dim"],
        dtype=dtype,
    )
    backbone.token_embedding.embeddings.assign(tensors["model.embed_tokens.weight"])
    backbone.layer_norm.scale.assign(tensors["model.norm.weight"])
    for layer, block in enumerate(backbone.transformer_layers):

        def of(name: str, layer: int = layer) -> np.ndarray:
            weight: np.ndarray = tensors[f"model.layers.{layer}.{name}.weight"]
            return weight

        attention = block.attention
        for name, dense, count in (
            ("q", attention.query_dense, heads),
            ("k", attention.key_dense, keys),
            ("v", attention.value_dense, keys),
        ):
            dense.kernel.assign(
                of(f"self_attn.{name}_proj").reshape(count, -1, config["hidden_size"]).transpose(0, 2, 1)
            )
        attention.output_dense.kernel.assign(of("self_attn.o_proj").T.reshape(heads, -1, config["hidden_size"]))
        block.pre_attention_norm.scale.assign(of("input_layernorm"))
        block.pre_ffw_norm.scale.assign(of("post_attention_layernorm"))
        block.gating_ffw.kernel.assign(of("mlp.gate_proj").T)
        block.gating_ffw_2.kernel.assign(of("mlp.up_proj").T)
        block.ffw_linear.kernel.assign(of("mlp.down_proj").T)
    return backbone
