"""LoRA adapters of NVIDIA NeMo.

NeMo 1: a `.nemo` file, or the directory that it unpacks to, whose `model_config.yaml` has a `peft`. NeMo 2: a directory
of `weights/` and `context/`, whose `model.yaml` has a `model_transform`. Weights are stored as those of whole models
are. One adapter of a fused projection (QKV; gate and up) is one A, and a B whose rows lie as the projection's do; what
it adds is multiplied by alpha / rank.

Names: nemo/collections/nlp/modules/common/megatron/adapters/parallel_adapters.py (`AdapterName`) and
nemo/collections/llm/peft/{lora,canonical_lora}.py of NeMo.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from sharding.adapters.adapter import AdapterError
from sharding.adapters.files import files_of, is_nemo
from sharding.adapters.form import AdapterForm
from sharding.adapters.nemo_config import FC1, FC2, OUTPUT, QKV, NemoLora, read_nemo_lora
from sharding.adapters.stored import StoredAdapter
from sharding.adapters.update import LoraUpdate
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.nemo.members import open_members
from sharding.checkpoint.nemo.names import by_layer, canonical, fc1_rows, qkv_rows, wanted
from sharding.checkpoint.nemo.weights import read_weights
from sharding.checkpoint.views import Rows
from sharding.config import GemmaConfig

_NEMO1, _NEMO1_MLP = "self_attention.adapter_layer.lora_", "mlp.adapter_layer.lora_"
_NEMO2_QKV, _NEMO2_FC1 = "self_attention.linear_qkv.adapter", "mlp.linear_fc1.adapter"
_UNFUSED_QKV = {f"{_NEMO2_QKV}.adapter_{name[-1]}": (name,) for name in QKV}
_MODULES: Mapping[str, tuple[str, ...]] = {
    f"{_NEMO1}kqv_adapter": QKV,
    **{f"{_NEMO1}unfused_kqv_adapter.{name[-1]}_adapter": (name,) for name in QKV},
    f"{_NEMO1}dense_attention_adapter": OUTPUT,
    f"{_NEMO1_MLP}hto4h_adapter": FC1,
    **{f"{_NEMO1_MLP}unfused_hto4h_adapter.{name.removeprefix('mlp.')}_adapter": (name,) for name in FC1},
    f"{_NEMO1_MLP}4htoh_adapter": FC2,
    _NEMO2_QKV: QKV,
    **_UNFUSED_QKV,
    "self_attention.linear_proj.adapter": OUTPUT,
    _NEMO2_FC1: FC1,
    **{f"{_NEMO2_FC1}.adapter_{name.removeprefix('mlp.')}": (name,) for name in FC1},
    "mlp.linear_fc2.adapter": FC2,
}
"""What adapts which of our projections."""
_NAME = re.compile(r"decoder\.layers\.(?:(?P<layer>\d{1,5})\.)?(?P<module>[a-z].*)\.linear_(?P<part>in|out)\.weight")


def _is_adapter(path: Path) -> bool:
    try:
        return read_nemo_lora(open_members(path)) is not None
    except AdapterError:
        return True  # one that cannot be computed with
    except (CheckpointError, OSError):
        return False


def _open(path: Path) -> StoredAdapter:
    members = open_members(path)
    lora = read_nemo_lora(members)
    if lora is None:
        raise AdapterError(f"{path}: is a whole model, not an adapter.")
    tensors = read_weights(members, lora.weights, wanted, lora.layers, lora.parallel)
    projections = {projection for key in tensors for projection in _MODULES[_parsed(path, canonical(key))["module"]]}
    if missing := sorted(lora.targets - projections):
        raise AdapterError(
            f"{path}: it has no tensor for {missing[0]}, which {lora.config_name} names. Fetch it again."
        )
    return StoredAdapter(
        form=NEMO.name,
        path=path,
        rank=lora.rank,
        made_for=lora.made_for,
        tensors=tensors,
        projections=tuple(name for name in (*QKV, *OUTPUT, *FC1, *FC2) if name in projections),
        updates_of=lambda config: _updates(path, lora, tensors, config),
        config_name=lora.config_name,
    )


def _parsed(path: Path, name: str) -> re.Match[str]:
    match = _NAME.fullmatch(name)
    if match is None or match["module"] not in _MODULES:
        raise AdapterError(
            f"{path}: tensor {name[:200]} is no part of LoRA for QKV, the attention's projection or the MLP; nothing "
            "else can be adapted here."
        )
    return match


def _updates(path: Path, lora: NemoLora, tensors: Mapping[str, Matrix], config: GemmaConfig) -> dict[str, LoraUpdate]:
    """By the paths of projections."""
    parts: dict[tuple[int, str], dict[str, Matrix]] = {}
    for key, matrix in tensors.items():
        for name, part in by_layer(canonical(key), matrix, config.num_layers).items():
            match = _parsed(path, name)
            pair = parts.setdefault((int(match["layer"]), match["module"]), {})
            if pair.setdefault(match["part"], part) is not part:
                raise AdapterError(f"{path}: has two tensors {name}.")
    updates: dict[str, LoraUpdate] = {}
    for (layer, module), pair in parts.items():
        where = f"decoder.layers.{layer}.{module}"
        if len(pair) == 1:
            [only] = pair.values()
            raise AdapterError(
                f"{path}: of linear_in and linear_out of {where} it has only {only.name}. Fetch it again."
            )
        if module in _UNFUSED_QKV and config.num_kv_heads > 1:
            raise AdapterError(
                f"{path}: {where} is a CanonicalLoRA of grouped heads, which NeMo adds in another order than the "
                "heads'. Train a LoRA of linear_qkv."
            )
        for projection, b in _split(where, pair["out"], _MODULES[module], lora, config).items():
            name = f"layers.{layer}.{projection}"
            if name in updates:
                raise AdapterError(f"{path}: has two adapters of {name}, one of them {where}.")
            updates[name] = LoraUpdate(a=pair["in"], b=b, rank=lora.rank, factor=lora.factor)
    _check_every_layer(path, lora, updates, config)
    return updates


def _split(
    where: str, b: Matrix, projections: tuple[str, ...], lora: NemoLora, config: GemmaConfig
) -> dict[str, Matrix]:
    """What B has for each projection."""
    if len(projections) == 1:
        return {projections[0]: b}
    pieces = qkv_rows(config) if projections == QKV else fc1_rows(config, lora.ranks_in_fc1)
    expected = sum(len(rows) for piece in pieces for rows in piece)
    if b.shape[0] != expected:
        raise AdapterError(
            f"{b.file}: tensor {where}.linear_out.weight has {b.shape[0]} rows; this model asks for {expected}."
        )
    return {
        projection: Rows.of([(b, rows) for rows in piece])
        for projection, piece in zip(projections, pieces, strict=True)
    }


def _check_every_layer(path: Path, lora: NemoLora, updates: Mapping[str, LoraUpdate], config: GemmaConfig) -> None:
    adapted = {name.split(".", 2)[2] for name in updates}
    for projection in sorted(adapted) if lora.in_every_layer else ():
        for layer in range(config.num_layers):
            if f"layers.{layer}.{projection}" not in updates:
                raise AdapterError(
                    f"{path}: it has nothing for {projection} of layer {layer}, as it has for other layers. Fetch it "
                    "again."
                )


NEMO = AdapterForm("NVIDIA NeMo", is_nemo, _is_adapter, files_of, _open)
