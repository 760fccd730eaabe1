"""NeMo checkpoints with the libraries that NeMo writes them with: torch.save, PyTorch's and Megatron's.

The order of QKV and of gate and up, and what norms are, follow NeMo's converters:
scripts/checkpoint_converters/convert_gemma_hf_to_nemo.py and nemo/collections/llm/gpt/model/gemma.py.
"""

import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed
import yaml
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing import ShardedTensor
from torch.distributed import checkpoint
from torch.distributed.tensor import DTensor, Shard, init_device_mesh

from tests.forms.weights import tokenizer
from tests.oracle.random_checkpoint import Tensors as Arrays

PADDED_ROWS = 128
TOKENIZER = "0123456789abcdef0123456789abcdef_tokenizer.model"
LAYERS = "decoder.layers."
Tensors = dict[str, torch.Tensor]


def write_nemo1(path: Path, config: dict[str, Any], arrays: Arrays, mode: Literal["w:", "w:gz"]) -> None:
    """An archive with one flat file of weights."""
    tensors = _megatron_tensors(config, arrays, norms_plus_one=True)
    with tempfile.TemporaryDirectory() as folder:
        _write_nemo1_config(Path(folder), config)
        torch.save({f"model.{name}": value for name, value in tensors.items()}, Path(folder) / "model_weights.ckpt")
        _archive(Path(folder), path, mode)


def write_nemo1_zarr(path: Path, config: dict[str, Any], arrays: Arrays, ranks: int) -> None:
    """An archive with arrays that Megatron writes, as so many ranks would."""
    tensors = _megatron_tensors(config, arrays, norms_plus_one=True)
    with tempfile.TemporaryDirectory() as folder, _process_group():
        _write_nemo1_config(Path(folder), config)
        (Path(folder) / "model_weights").mkdir()
        dist_checkpointing.save(_shards(config, tensors, "model.", ranks), str(Path(folder) / "model_weights"))
        _archive(Path(folder), path, "w:")


def write_nemo2(path: Path, config: dict[str, Any], arrays: Arrays) -> None:
    """A directory with PyTorch's distributed checkpoint."""
    _write_nemo2_context(path, config)
    with _process_group():
        _write_dcp(path / "weights", _megatron_tensors(config, arrays, norms_plus_one=False), "module.")


def _megatron_tensors(config: dict[str, Any], arrays: Arrays, norms_plus_one: bool) -> Tensors:
    """The weights under Megatron's names."""
    theirs = {name: torch.from_numpy(value) for name, value in arrays.items()}
    heads, groups, head = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    one = 1.0 if norms_plus_one else 0.0
    table = theirs["model.embed_tokens.weight"]
    padding = torch.full((PADDED_ROWS, table.shape[1]), 7.0)
    tensors = {
        "embedding.word_embeddings.weight": torch.cat([table, padding]),
        "decoder.final_layernorm.weight": theirs["model.norm.weight"] + one,
    }
    for layer in range(config["num_hidden_layers"]):
        hf = {
            name.removeprefix(f"model.layers.{layer}.").removesuffix(".weight"): value
            for name, value in theirs.items()
            if name.startswith(f"model.layers.{layer}.")
        }
        q, k, v = (hf[f"self_attn.{name}_proj"].view(groups, -1, head, table.shape[1]) for name in "qkv")
        assert q.shape[1] == heads // groups
        block = {
            "self_attention.linear_qkv.weight": torch.cat([q, k, v], 1).reshape(-1, table.shape[1]),
            "self_attention.linear_qkv.layer_norm_weight": hf["input_layernorm"] + one,
            "self_attention.linear_proj.weight": hf["self_attn.o_proj"],
            "mlp.linear_fc1.weight": torch.cat([hf["mlp.gate_proj"], hf["mlp.up_proj"]]),
            "mlp.linear_fc1.layer_norm_weight": hf["post_attention_layernorm"] + one,
            "mlp.linear_fc2.weight": hf["mlp.down_proj"],
        }
        tensors |= {f"{LAYERS}{layer}.{name}": value for name, value in block.items()}
    return tensors


def _write_nemo1_config(folder: Path, config: dict[str, Any]) -> None:
    fields = {
        "encoder_seq_length": config["max_position_embeddings"],
        "num_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "ffn_hidden_size": config["intermediate_size"],
        "num_attention_heads": config["num_attention_heads"],
        "num_query_groups": config["num_key_value_heads"],
        "kv_channels": config["head_dim"],
        "layernorm_epsilon": config["rms_norm_eps"],
        "normalization": "rmsnorm",
        "activation": "geglu",
        "apply_embedding_scaling": True,
        "tokenizer": {"library": "sentencepiece", "model": f"nemo:{TOKENIZER}"},
    }
    (folder / "model_config.yaml").write_text(yaml.safe_dump(fields))
    (folder / TOKENIZER).write_bytes(tokenizer(config["vocab_size"]))


def _write_nemo2_context(folder: Path, config: dict[str, Any]) -> None:
    (folder / "context" / "nemo_tokenizer").mkdir(parents=True)
    fields = {
        "_target_": "nemo.collections.llm.gpt.model.gemma.GemmaConfig",
        "num_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "ffn_hidden_size": config["intermediate_size"],
        "num_attention_heads": config["num_attention_heads"],
        "num_query_groups": config["num_key_value_heads"],
        "seq_length": config["max_position_embeddings"],
        "layernorm_epsilon": config["rms_norm_eps"],
        "layernorm_zero_centered_gamma": True,
    }
    model = {"_target_": "nemo.collections.llm.gpt.model.gemma.GemmaModel", "config": fields}
    (folder / "context" / "model.yaml").write_text(yaml.safe_dump(model))
    (folder / "context" / "nemo_tokenizer" / "tokenizer.model").write_bytes(tokenizer(config["vocab_size"]))


def _shards(config: dict[str, Any], tensors: Tensors, prefix: str, ranks: int) -> dict[str, ShardedTensor]:
    """What so many ranks of tensor parallelism hand to Megatron to save; layers are stacked, fc1 is cut in two."""
    found: dict[str, ShardedTensor] = {}
    layers = config["num_hidden_layers"]
    for name, value in tensors.items():
        key, stack, prepended = prefix + name, [], 0
        if name.startswith(LAYERS):
            layer, _, rest = name.removeprefix(LAYERS).partition(".")
            key, stack, prepended = f"{prefix}{LAYERS}{rest}", [(0, int(layer), layers)], 1
        axis = 1 if name.endswith(("linear_proj.weight", "linear_fc2.weight")) else 0
        pieces = 1 if "norm" in name else 2 * ranks if "fc1" in name else ranks
        for index, piece in enumerate(value.chunk(pieces, axis)):
            offsets = [*stack, (axis + prepended, index, pieces)] if pieces > 1 else stack
            found[f"{name}/{index}"] = ShardedTensor.from_rank_offsets(
                key, piece.contiguous(), *offsets, prepend_axis_num=prepended
            )
    return found


def _write_dcp(folder: Path, tensors: Tensors, prefix: str) -> None:
    """By PyTorch's distributed checkpoint, of tensors that are sharded as far as one process can."""
    mesh = init_device_mesh("cpu", (1,))
    by_name: dict[str, list[torch.Tensor]] = {}
    for name, value in tensors.items():
        rest = name.removeprefix(LAYERS).partition(".")[2]
        by_name.setdefault(f"{LAYERS}{rest}" if name.startswith(LAYERS) else name, []).append(value)

    state: dict[str, object] = {
        prefix + name: DTensor.from_local(torch.stack(values) if LAYERS in name else values[0], mesh, [Shard(0)])
        for name, values in by_name.items()
    }
    state["module.decoder.layers.self_attention._extra_state/shard_0_1"] = b"\x80\x02N."
    checkpoint.save(state, checkpoint_id=folder)


@contextmanager
def _process_group() -> Iterator[None]:
    """One process that takes itself for all."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}
    torch.cuda.synchronize = lambda: None  # Megatron's, before it reads a tensor; there is no GPU
    with tempfile.TemporaryDirectory() as store:
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}/store", rank=0, world_size=1)
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


def _archive(folder: Path, file: Path, mode: Literal["w:", "w:gz"]) -> None:
    """As NeMo packs it."""
    with tarfile.open(file, mode) as tar:
        tar.add(folder, arcname=".")
