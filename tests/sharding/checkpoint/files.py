"""Writes small checkpoints of random weights in both formats, for the checkpoint tests."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy.typing as npt
from safetensors.numpy import save_file

from sharding.checkpoint.quantised import QuantisedSource
from sharding.checkpoint.source import TensorSource
from tests.oracle.random_checkpoint import CONFIGS, random_tensors

Tensors = dict[str, npt.NDArray[Any]]

# Every row of every matrix is a multiple of 256 numbers, so that all GGUF types fit.
WIDE = CONFIGS["gemma-mqa"] | {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 96,
}
WIDE_GEMMA3 = CONFIGS["gemma3"] | {
    key: WIDE[key] for key in WIDE if key.startswith(("num_", "hidden_size", "head_dim"))
}

_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def expected_parameters(config: Mapping[str, Any], tensors: Tensors) -> Tensors:
    """The tensors under our paths and in our shapes."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head, embed = config["head_dim"], config["hidden_size"]
    is_gemma3 = config["model_type"] == "gemma3_text"
    layer_names = {
        "pre_attention_norm": ("input_layernorm", (embed,)),
        "attention.q": ("self_attn.q_proj", (heads, head, embed)),
        "attention.k": ("self_attn.k_proj", (kv_heads, head, embed)),
        "attention.v": ("self_attn.v_proj", (kv_heads, head, embed)),
        "attention.o": ("self_attn.o_proj", (embed, heads, head)),
        "mlp.gate": ("mlp.gate_proj", (config["intermediate_size"], embed)),
        "mlp.up": ("mlp.up_proj", (config["intermediate_size"], embed)),
        "mlp.down": ("mlp.down_proj", (embed, config["intermediate_size"])),
        "pre_mlp_norm": ("pre_feedforward_layernorm" if is_gemma3 else "post_attention_layernorm", (embed,)),
    }
    if is_gemma3:
        layer_names |= {
            "attention.q_norm": ("self_attn.q_norm", (head,)),
            "attention.k_norm": ("self_attn.k_norm", (head,)),
            "post_attention_norm": ("post_attention_layernorm", (embed,)),
            "post_mlp_norm": ("post_feedforward_layernorm", (embed,)),
        }
    parameters = {
        f"layers.{layer}.{path}": tensors[f"model.layers.{layer}.{name}.weight"].reshape(shape)
        for layer in range(config["num_hidden_layers"])
        for path, (name, shape) in layer_names.items()
    }
    return parameters | {
        "embedder.weight": tensors["model.embed_tokens.weight"],
        "final_norm": tensors["model.norm.weight"],
    }


def write_huggingface(directory: Path, config: Mapping[str, Any], tensors: Tensors, shards: int | None = None) -> Path:
    """Writes config.json and one file, or `shards` files with an index; tensors go to shards in turn."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    if shards is None:
        save_file(tensors, directory / "model.safetensors")
        return directory
    files = [f"model-{shard + 1:05}-of-{shards:05}.safetensors" for shard in range(shards)]
    weight_map = {name: files[number % shards] for number, name in enumerate(sorted(tensors))}
    for file in files:
        save_file({name: tensors[name] for name, place in weight_map.items() if place == file}, directory / file)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


def gguf_tensors(config: Mapping[str, Any], tensors: Tensors) -> Tensors:
    """The tensors under GGUF's names, norms as 1 + w."""
    return {
        _gguf_name(name, config["model_type"] == "gemma3_text"): value + 1 if "norm" in name else value
        for name, value in tensors.items()
    }


def plain(source: TensorSource | QuantisedSource) -> TensorSource:
    """A source of numbers, not of codes and scales."""
    assert isinstance(source, TensorSource)
    return source


def write_gguf(
    file: Path,
    config: Mapping[str, Any],
    tensors: Tensors,
    types: Mapping[str, gguf.GGMLQuantizationType] | None = None,
    keys: Iterable[tuple[str, float | str]] = (),
    split: Mapping[str, int] | None = None,
) -> Path:
    """Writes tensors (by GGUF name); those named in `types` hold encoded bytes of that type.

    Args:
      file: to write.
      config: as in a config.json.
      tensors: float32, or encoded uint8 rows.
      types: of the encoded tensors.
      keys: further metadata, below the architecture's name.
      split: further metadata that say of which set of files this is the first.
    """
    architecture = "gemma3" if config["model_type"] == "gemma3_text" else config["model_type"]
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_key_length(config["head_dim"])
    if architecture == "gemma3":
        writer.add_rope_freq_base(config["rope_theta"])
        writer.add_sliding_window(config["sliding_window"])
    writer.add_token_list([f"token {number}" for number in range(config["vocab_size"])])
    writer.add_token_scores([0.5] * config["vocab_size"])
    for key, value in keys:
        if isinstance(value, str):
            writer.add_string(f"{architecture}.{key}", value)
        else:
            writer.add_float32(f"{architecture}.{key}", value)
    for key, number in (split or {}).items():
        writer.add_int32(key, number)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor, raw_dtype=(types or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def wide_tensors(seed: int = 0) -> Tensors:
    """Random weights of the model `WIDE`."""
    return dict(random_tensors(WIDE, seed))


def _gguf_name(name: str, is_gemma3: bool) -> str:
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return f"{_GGUF_NAMES[stem]}.weight"
    _, _, layer, parameter = stem.split(".", 3)
    if parameter == "post_attention_layernorm":
        return f"blk.{layer}.{'post_attention_norm' if is_gemma3 else 'ffn_norm'}.weight"
    return f"blk.{layer}.{_GGUF_NAMES[parameter]}.weight"
