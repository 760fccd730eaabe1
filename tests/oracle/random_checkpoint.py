"""Small Gemmas with random weights, written as Hugging Face directories: numpy and safetensors only, for both venvs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

Tensors = dict[str, npt.NDArray[np.float32]]

_GEMMA = {
    "architectures": ["GemmaForCausalLM"],
    "model_type": "gemma",
    "vocab_size": 512,
    "intermediate_size": 128,
    "head_dim": 256,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "torch_dtype": "float32",
}

CONFIGS: dict[str, dict[str, Any]] = {
    # The head layout of CodeGemma 2B: multi-query attention.
    "gemma-mqa": _GEMMA
    | {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 1},
    # Of CodeGemma 7B: as many key heads as query heads, together wider than the model.
    "gemma-mha": _GEMMA
    | {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 16, "num_key_value_heads": 16},
    # Gemma 3: normalised queries and keys, sandwich norms, layers 0, 1 and 3 local, two RoPE bases, scaled positions.
    "gemma3": {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 32,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "query_pre_attn_scalar": 12,
        "sliding_window": 16,
        "sliding_window_pattern": 3,
        "attention_bias": False,
        "hidden_activation": "gelu_pytorch_tanh",
        "torch_dtype": "float32",
    },
}
"""config.json by model name; every width divides by 8 devices."""


def random_tensors(config: dict[str, Any], seed: int) -> Tensors:
    """Weights scaled so that the layers, not the token itself, decide the next one, by attention far from uniform."""
    rng = np.random.default_rng(seed)
    embed, mlp, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head

    def matrix(rows: int, columns: int, gain: float = 1.0) -> npt.NDArray[np.float32]:
        return np.asarray(gain * columns**-0.5 * rng.standard_normal((rows, columns)), np.float32)

    def norm(size: int) -> npt.NDArray[np.float32]:
        return (0.2 * rng.standard_normal(size)).astype(np.float32)

    tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], embed, 0.3)}
    for layer in range(config["num_hidden_layers"]):
        block = {
            "input_layernorm": norm(embed),
            "self_attn.q_proj": matrix(queries, embed, 3.0),
            "self_attn.k_proj": matrix(keys, embed, 3.0),
            "self_attn.v_proj": matrix(keys, embed),
            "self_attn.o_proj": matrix(embed, queries, 2.0),
            "post_attention_layernorm": norm(embed),
            "mlp.gate_proj": matrix(mlp, embed),
            "mlp.up_proj": matrix(mlp, embed),
            "mlp.down_proj": matrix(embed, mlp, 2.0),
        }
        if config["model_type"] == "gemma3_text":
            block |= {
                "self_attn.q_norm": norm(head),
                "self_attn.k_norm": norm(head),
                "pre_feedforward_layernorm": norm(embed),
                "post_feedforward_layernorm": norm(embed),
            }
        tensors |= {f"model.layers.{layer}.{name}.weight": value for name, value in block.items()}
    return tensors | {"model.norm.weight": norm(embed)}


def write_checkpoint(directory: Path, name: str, seed: int) -> None:
    """Writes `config.json` and `model.safetensors` of the model `name` into an existing directory."""
    config = CONFIGS[name]
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    save_file(random_tensors(config, seed), directory / "model.safetensors", metadata={"format": "pt"})
