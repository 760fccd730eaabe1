"""Random models in the forms that other libraries write, with transformers' logits, to compare with.

Runs in .venv-forms (requirements.txt) and shares no code with the readers:

    .venv-forms/bin/python tests/forms/google_writers.py --seed 0 --out DIRECTORY

Writes, for each model and form, DIRECTORY/MODEL.FORM with a checkpoint and `expected.npz`: prompts [prompts, length],
and the logits after them [prompts, V], in float32, of the weights as that form has them.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras_hub
import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

sys.path.insert(0, str(Path(__file__).parents[1] / "oracle"))
from random_checkpoint import CONFIGS, Tensors, random_tensors

MODELS = ("gemma-mqa", "gemma-mha")
PROMPTS, LENGTH = 4, 24
MAX_RELATIVE_ERROR = 1e-4
"""Of the logits that a form's own library computes."""


def rounded(tensors: Tensors) -> Tensors:
    """What bfloat16 leaves of numbers."""
    return {name: torch.tensor(value).bfloat16().float().numpy() for name, value in tensors.items()}


def dequantised(tensors: Tensors) -> Tensors:
    """What int8 with a scale for each row leaves of matrices."""
    found: Tensors = {}
    for name, value in tensors.items():
        codes, scales = quantised(value) if value.ndim == 2 else (value, np.ones(1, np.float32))
        found[name] = codes * scales[:, None] if value.ndim == 2 else value
    return found


def quantised(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scales = (np.abs(matrix).max(1) / 127).astype(np.float32)
    return np.rint(matrix / scales[:, None]).astype(np.int8), scales


def gemma_pytorch(config: Mapping[str, Any], tensors: Tensors, dtype: torch.dtype) -> dict[str, torch.Tensor]:
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


def write_gemma_pytorch(path: Path, config: Mapping[str, Any], tensors: Tensors) -> None:
    torch.save({"model_state_dict": gemma_pytorch(config, tensors, torch.float32)}, path / "model.ckpt")


def write_gemma_pytorch_shards(path: Path, config: Mapping[str, Any], tensors: Tensors) -> None:
    state = gemma_pytorch(config, tensors, torch.bfloat16)
    files = {name: f"pytorch_model-0000{number % 2 + 1}-of-00002.bin" for number, name in enumerate(state)}
    for file in set(files.values()):
        torch.save({name: state[name] for name, place in files.items() if place == file}, path / file)
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))


def write_gemma_pytorch_quant(path: Path, config: Mapping[str, Any], tensors: Tensors) -> None:
    state: dict[str, torch.Tensor] = {}
    for name, value in gemma_pytorch(config, tensors, torch.float32).items():
        if value.ndim == 2 and not value.is_complex():
            codes, scales = quantised(value.numpy())
            state[name] = torch.tensor(codes)
            state[name.removesuffix("weight") + "weight_scaler"] = torch.tensor(scales)
        else:
            state[name] = value
    torch.save({"model_state_dict": state}, path / "model.ckpt")


def keras_backbone(config: Mapping[str, Any], tensors: Tensors, dtype: str) -> keras_hub.models.GemmaBackbone:
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


def write_keras(path: Path, config: Mapping[str, Any], tensors: Tensors) -> None:
    keras_backbone(config, tensors, "float32").save_to_preset(str(path))


def write_keras_shards(path: Path, config: Mapping[str, Any], tensors: Tensors) -> None:
    keras_backbone(config, tensors, "bfloat16").save_to_preset(str(path), max_shard_size=1e-3)


FORMS: dict[str, tuple[Callable[[Path, Mapping[str, Any], Tensors], None], Callable[[Tensors], Tensors]]] = {
    "gemma_pytorch": (write_gemma_pytorch, dict),
    "gemma_pytorch-shards": (write_gemma_pytorch_shards, rounded),
    "gemma_pytorch-quant": (write_gemma_pytorch_quant, dequantised),
    "keras": (write_keras, dict),
    "keras-shards": (write_keras_shards, rounded),
}
"""How a form is written, and what it leaves of the numbers."""


@torch.inference_mode()  # type: ignore[untyped-decorator]  # of another environment
def logits(directory: Path, config: Mapping[str, Any], tensors: Tensors, prompts: np.ndarray) -> np.ndarray:
    """What transformers computes after each prompt."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    found: np.ndarray = model(torch.tensor(prompts)).logits[:, -1].numpy()
    return found


def check_keras(config: Mapping[str, Any], tensors: Tensors, prompts: np.ndarray, expected: np.ndarray) -> float:
    """How far KerasHub's own logits are from transformers': its model has the weights where it should."""
    backbone = keras_backbone(config, tensors, "float32")
    hidden = backbone({"token_ids": torch.tensor(prompts), "padding_mask": torch.ones(prompts.shape, dtype=torch.bool)})
    own = backbone.token_embedding(hidden, reverse=True)[:, -1].detach().cpu().numpy()
    return float(np.abs(own - expected).max() / np.abs(expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes random models in the forms of other libraries.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    disable_progress_bar()
    for name in MODELS:
        config = CONFIGS[name]
        tensors = random_tensors(config, args.seed)
        prompts = np.random.default_rng(args.seed).integers(0, config["vocab_size"], (PROMPTS, LENGTH))
        for form, (write, stored) in FORMS.items():
            directory = args.out / f"{name}.{form}"
            directory.mkdir(parents=True)
            write(directory, config, tensors)
            expected = logits(args.out / f"{name}.{form}.reference", config, stored(tensors), prompts)
            np.savez(directory / "expected.npz", prompts=prompts, logits=expected)
            if form == "keras":
                error = check_keras(config, tensors, prompts, expected)
                print(f"{name}: KerasHub's logits differ from transformers' by {error:.1e}", flush=True)
                assert error < MAX_RELATIVE_ERROR
            print(f"{name} as {form}", flush=True)


if __name__ == "__main__":
    main()
