"""A Gemma 1 checkpoint with CodeGemma's vocabulary and random weights: every step takes milliseconds."""

import json
import shutil
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import save_file

from serving.cli.serve_file import demo_file
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER

_VOCAB, _EMBED, _MLP, _LAYERS, _HEADS, _HEAD_DIM = 256_000, 32, 64, 2, 8, 16


def write_tiny_codegemma(directory: Path) -> Path:
    """Write a Hugging Face checkpoint with its tokenizer into `directory` and return it."""
    draw = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape, np.float32) * np.float32(shape[-1] ** -0.5)

    tensors = {"model.embed_tokens.weight": matrix(_VOCAB, _EMBED), "model.norm.weight": np.zeros(_EMBED, np.float32)}
    for layer in range(_LAYERS):
        name = f"model.layers.{layer}"
        tensors |= {
            f"{name}.input_layernorm.weight": np.zeros(_EMBED, np.float32),
            f"{name}.post_attention_layernorm.weight": np.zeros(_EMBED, np.float32),
            f"{name}.self_attn.q_proj.weight": matrix(_HEADS * _HEAD_DIM, _EMBED),
            f"{name}.self_attn.k_proj.weight": matrix(_HEAD_DIM, _EMBED),
            f"{name}.self_attn.v_proj.weight": matrix(_HEAD_DIM, _EMBED),
            f"{name}.self_attn.o_proj.weight": matrix(_EMBED, _HEADS * _HEAD_DIM),
            f"{name}.mlp.gate_proj.weight": matrix(_MLP, _EMBED),
            f"{name}.mlp.up_proj.weight": matrix(_MLP, _EMBED),
            f"{name}.mlp.down_proj.weight": matrix(_EMBED, _MLP),
        }
    save_file(tensors, directory / "model.safetensors")
    config = {
        "model_type": "gemma",
        "architectures": ["GemmaForCausalLM"],
        "vocab_size": _VOCAB,
        "hidden_size": _EMBED,
        "intermediate_size": _MLP,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": 1,
        "head_dim": _HEAD_DIM,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_activation": "gelu_pytorch_tanh",
    }
    (directory / "config.json").write_text(json.dumps(config))
    shutil.copy(CODEGEMMA_TOKENIZER, directory / "tokenizer.model")
    return directory


def write_service(directory: Path, *, host: str = "127.0.0.1", **gateway: object) -> Path:
    """Write a configuration for `codegemma serve`, of one model of this kind, with its checkpoint."""
    document = yaml.safe_load(demo_file().read_text())
    document["http_options"]["host"] = host
    limits = {"max_rows": 2, "max_step_tokens": 32, "max_context": 256, "kv_tokens": 512}
    checkpoint = str(write_tiny_codegemma(directory))
    model = {"id": "tiny", "checkpoint": checkpoint, "roles": ["fim"], "dtype": "float32", "limits": limits}
    document["applications"][0]["args"] = {"models": [model], "gateway": gateway}
    path = directory / "service.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
