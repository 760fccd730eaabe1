"""Random LoRA adapters as PEFT saves them, with what PEFT computes from them, to compare with.

Runs in .venv-forms (requirements.txt) and shares no code with the readers:

    .venv-forms/bin/python -m tests.forms.peft_writers --seed 0 --out DIRECTORY
    .venv-forms/bin/python -m tests.forms.peft_writers --check DIRECTORY

The first writes, for each model of `random_checkpoint`, DIRECTORY/MODEL/base, a checkpoint with a tokenizer, and for
each kind of adapter DIRECTORY/MODEL/KIND with `adapter`, `expected.npz` (prompts [prompts, length], and the logits
after them [prompts, V], in float32) and `merged.safetensors`, what `merge_and_unload` makes of the model. An adapter of
which q, k and v, and gate and up, have one A is written as `adapter.nemo` and as NeMo 2's directory too. The second
loads each DIRECTORY/MODEL/KIND/converted by transformers and looks whether it computes the same.
"""

import argparse
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from sentencepiece.sentencepiece_model_pb2 import ModelProto, NormalizerSpec, TrainerSpec
from torch.distributed import checkpoint
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from tests.oracle.random_checkpoint import CONFIGS, write_checkpoint

PROMPTS, LENGTH = 4, 16
MAX_RELATIVE_ERROR = 1e-4
"""Of the logits of a merged model, to those with the adapter beside it."""
QKV, FC1 = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")
ALL = [*QKV, "o_proj", *FC1, "down_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 12, "target_modules": ALL},
    "rslora": {"r": 8, "lora_alpha": 6, "use_rslora": True, "target_modules": ALL},
    "patterns": {
        "r": 3,
        "lora_alpha": 5,
        "target_modules": ALL,
        "rank_pattern": {"q_proj": 6, "layers.1.mlp.down_proj": 2},
        "alpha_pattern": {"self_attn.v_proj": 9, "layers.0.self_attn.o_proj": 1},
    },
    "partial": {"r": 5, "lora_alpha": 10, "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1]},
    "all-linear": {"r": 2, "lora_alpha": 7, "target_modules": "all-linear"},
    "float16": {"r": 4, "lora_alpha": 8, "target_modules": ALL},
    "bfloat16": {"r": 4, "lora_alpha": 8, "target_modules": ALL},
    "fused": {"r": 4, "lora_alpha": 8, "target_modules": ALL},
}
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def base_model(path: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def adapted(path: Path, kind: str, seed: int) -> Any:
    """A model with an adapter of random A and B, as large as trained ones or larger."""
    model = get_peft_model(base_model(path), LoraConfig(task_type="CAUSAL_LM", **KINDS[kind]))
    generator = torch.Generator().manual_seed(seed)
    shared: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            continue
        scale = parameter.shape[1] ** -0.5 * (1.0 if "lora_A" in name else 0.5)
        value = scale * torch.randn(parameter.shape, generator=generator)
        if kind == "fused" and "lora_A" in name:
            first = name
            for part in (QKV, FC1):
                for projection in part:
                    first = first.replace(projection, part[0])
            value = shared.setdefault(first, value)
        if kind in _DTYPES:  # numbers that the files hold
            value = value.to(_DTYPES[kind]).float()
        parameter.data = value
    return model.eval()


def save(model: Any, kind: str, path: Path) -> None:
    """By PEFT; in 16 bits, where the kind says so."""
    if kind not in _DTYPES:
        model.save_pretrained(path)
        return
    parameters = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    for parameter in parameters:
        parameter.data = parameter.data.to(_DTYPES[kind])
    model.save_pretrained(path)
    for parameter in parameters:
        parameter.data = parameter.data.float()


@torch.inference_mode()  # type: ignore[untyped-decorator]  # of another environment
def logits(model: Any, prompts: np.ndarray) -> np.ndarray:
    found: np.ndarray = model(torch.tensor(prompts)).logits[:, -1].numpy()
    return found


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def nemo_tensors(config: dict[str, Any], model: Any, modules: dict[str, str]) -> dict[str, torch.Tensor]:
    """What PEFT has of a fused adapter, as NeMo calls and orders it."""
    state = {name: value.detach().clone() for name, value in model.named_parameters() if "lora_" in name}
    groups = config["num_key_value_heads"]
    found: dict[str, torch.Tensor] = {}

    def of(layer: int, module: str, part: str) -> torch.Tensor:
        return state[f"base_model.model.model.layers.{layer}.{module}.lora_{part}.default.weight"]

    for layer in range(config["num_hidden_layers"]):
        qkv = [of(layer, f"self_attn.{name}", "B") for name in QKV]
        rank = qkv[0].shape[1]
        stacked = torch.cat([b.view(groups, -1, rank) for b in qkv], 1).reshape(-1, rank)
        pairs = {
            "qkv": (of(layer, "self_attn.q_proj", "A"), stacked),
            "o": (of(layer, "self_attn.o_proj", "A"), of(layer, "self_attn.o_proj", "B")),
            "fc1": (of(layer, "mlp.gate_proj", "A"), torch.cat([of(layer, f"mlp.{name}", "B") for name in FC1])),
            "fc2": (of(layer, "mlp.down_proj", "A"), of(layer, "mlp.down_proj", "B")),
        }
        for name, (a, b) in pairs.items():
            where = f"decoder.layers.{layer}.{modules[name]}"
            found |= {f"{where}.linear_in.weight": a, f"{where}.linear_out.weight": b}
    return found


def write_nemo1(file: Path, config: dict[str, Any], model: Any) -> None:
    """By torch.save and tarfile, as NeMo packs it."""
    modules = {
        "qkv": "self_attention.adapter_layer.lora_kqv_adapter",
        "o": "self_attention.adapter_layer.lora_dense_attention_adapter",
        "fc1": "mlp.adapter_layer.lora_hto4h_adapter",
        "fc2": "mlp.adapter_layer.lora_4htoh_adapter",
    }
    folder = file.with_suffix(".d")
    folder.mkdir()
    tuning = {"target_modules": ["all"], "adapter_dim": 4, "alpha": 8, "adapter_dropout": 0.0, "variant": "nemo"}
    fields = {
        "num_layers": config["num_hidden_layers"],
        "tensor_model_parallel_size": 1,
        "peft": {"peft_scheme": "lora", "lora_tuning": tuning},
    }
    (folder / "model_config.yaml").write_text(yaml.safe_dump(fields))
    tensors = {f"model.{name}": value for name, value in nemo_tensors(config, model, modules).items()}
    torch.save(tensors, folder / "model_weights.ckpt")
    with tarfile.open(file, "w:") as tar:
        tar.add(folder, arcname=".")


def write_nemo2(folder: Path, config: dict[str, Any], model: Any) -> None:
    """By PyTorch's distributed checkpoint, the layers stacked as Megatron has them."""
    modules = {
        "qkv": "self_attention.linear_qkv.adapter",
        "o": "self_attention.linear_proj.adapter",
        "fc1": "mlp.linear_fc1.adapter",
        "fc2": "mlp.linear_fc2.adapter",
    }
    (folder / "context").mkdir(parents=True)
    lora = {"_target_": "nemo.collections.llm.peft.lora.LoRA", "dim": 4, "alpha": 8}
    (folder / "context" / "model.yaml").write_text(yaml.safe_dump({"model_transform": lora}))
    by_name: dict[str, list[torch.Tensor]] = {}
    for name, value in nemo_tensors(config, model, modules).items():
        by_name.setdefault("module.decoder.layers." + name.split(".", 3)[3], []).append(value)
    state = {name: torch.stack(values) for name, values in by_name.items()}
    checkpoint.save(state, checkpoint_id=folder / "weights", no_dist=True)
    (folder / "weights" / "adapter_metadata.json").write_text(json.dumps({"model_ckpt_path": "/models/base"}))


def write(out: Path, name: str, seed: int) -> None:
    """All kinds of adapters of one model."""
    base = out / name / "base"
    base.mkdir(parents=True)
    write_checkpoint(base, name, seed)
    model = ModelProto(
        trainer_spec=TrainerSpec(model_type=TrainerSpec.BPE), normalizer_spec=NormalizerSpec(name="identity")
    )
    for number in range(CONFIGS[name]["vocab_size"]):
        model.pieces.add(piece=f"piece {number}", score=-number)
    (base / "tokenizer.model").write_bytes(model.SerializeToString())
    prompts = np.random.default_rng(seed).integers(0, CONFIGS[name]["vocab_size"], (PROMPTS, LENGTH))
    for kind in KINDS:
        folder = out / name / kind
        with_adapter = adapted(base, kind, seed)
        save(with_adapter, kind, folder / "adapter")
        expected = logits(with_adapter, prompts)
        again = logits(PeftModel.from_pretrained(base_model(base), folder / "adapter").eval(), prompts)
        assert relative_error(again, expected) < MAX_RELATIVE_ERROR
        assert relative_error(logits(base_model(base), prompts), expected) > 1e-2, "an adapter that changes nothing"
        np.savez(folder / "expected.npz", prompts=prompts, logits=expected)
        if kind == "fused":
            write_nemo1(folder / "adapter.nemo", CONFIGS[name], with_adapter)
            write_nemo2(folder / "nemo2", CONFIGS[name], with_adapter)
        merged = with_adapter.merge_and_unload()
        state = {key: value.contiguous() for key, value in merged.state_dict().items() if key != "lm_head.weight"}
        save_file(state, folder / "merged.safetensors")
        print(f"{name}: {kind}", flush=True)


def check(out: Path) -> None:
    """Whether transformers computes the same from what was converted."""
    found = sorted(out.glob("*/*/converted"))
    assert found, "nothing was converted"
    for path in found:
        with np.load(path.parent / "expected.npz") as arrays:
            error = relative_error(logits(base_model(path), arrays["prompts"]), arrays["logits"])
        print(f"{path.relative_to(out)}: transformers' logits differ from PEFT's by {error:.1e}", flush=True)
        assert error < MAX_RELATIVE_ERROR


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes random LoRA adapters, or checks what was made of them.")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--check", type=Path)
    args = parser.parse_args()

    disable_progress_bar()
    if args.check:
        check(args.check)
        return
    for name in CONFIGS:
        write(args.out, name, args.seed)


if __name__ == "__main__":
    main()
