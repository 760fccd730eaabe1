"""The configuration of a NeMo adapter: `peft` in `model_config.yaml` of NeMo 1, `model_transform` in NeMo 2's context.

Fields: nemo/collections/nlp/parts/peft_config.py and nemo/collections/llm/peft/{lora,canonical_lora}.py of NeMo.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sharding.adapters.adapter import AdapterError
from sharding.adapters.files import NEMO1_CONFIG, NEMO2_CONFIG
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import MAX_LAYERS, positive, size
from sharding.checkpoint.nemo.members import Members
from sharding.checkpoint.nemo.ranks import has_ranks
from sharding.checkpoint.nemo.yaml_mapping import as_mapping, read_mapping

QKV = ("attention.q", "attention.k", "attention.v")
OUTPUT = ("attention.o",)
FC1 = ("mlp.gate", "mlp.up")
FC2 = ("mlp.down",)
_NEMO1_TARGETS = {
    "attention_qkv": QKV,
    "attention_dense": OUTPUT,
    "mlp_fc1": FC1,
    "mlp_fc2": FC2,
    "attention": (*QKV, *OUTPUT),
    "mlp": (*FC1, *FC2),
    "all": (*QKV, *OUTPUT, *FC1, *FC2),
}
_NEMO2_TARGETS = {
    "linear_qkv": QKV,
    "linear_proj": OUTPUT,
    "linear_fc1": FC1,
    "linear_fc2": FC2,
    "linear_q": QKV[:1],
    "linear_k": QKV[1:2],
    "linear_v": QKV[2:],
    "linear_fc1_gate": FC1[:1],
    "linear_fc1_up": FC1[1:],
}
_DEFAULT_RANK = 32
"""And alpha, of NeMo 2."""
_MAX_CONFIG, _MAX_RANK = 2**20, 2**16
_METADATA = "weights/adapter_metadata.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NemoLora:
    """What the tensors of an adapter do not say.

    Attributes:
      rank: of all its projections.
      factor: alpha / rank, by which what it adds is multiplied.
      made_for: the model that it was trained on.
      config_name: the file that says so.
      weights: the folder of a distributed checkpoint.
      layers: of the model; counts where stages of a pipeline were saved apart.
      parallel: ranks of tensor and of pipeline parallelism that wrote flat files.
      ranks_in_fc1: so many ranks' rows lie below each other in what fc1's adapter adds, each gate and up.
      targets: the projections that it adapts.
      in_every_layer: rather than in layers that were chosen.
    """

    rank: int
    factor: float
    made_for: str
    config_name: str
    weights: str
    layers: int
    parallel: tuple[int, int]
    ranks_in_fc1: int
    targets: frozenset[str]
    in_every_layer: bool


def read_nemo_lora(members: Members) -> NemoLora | None:
    """The configuration of an adapter; None: it is that of a whole model.

    Raises:
      CheckpointError: it cannot be read, or asks for what would be computed otherwise.
    """
    name = NEMO1_CONFIG if NEMO1_CONFIG in members.extents else NEMO2_CONFIG
    text = members.read(name, _MAX_CONFIG)
    try:
        return _nemo1(members, read_mapping(text)) if name == NEMO1_CONFIG else _nemo2(members, read_mapping(text))
    except CheckpointError as error:
        raise type(error)(f"{members.path}: {name}: {error}") from None


def _nemo1(members: Members, fields: Mapping[str, Any]) -> NemoLora | None:
    peft = fields.get("peft")
    scheme = peft.get("peft_scheme") if isinstance(peft, dict) else None
    if not isinstance(peft, dict) or scheme in (None, "none", ""):
        return None
    if scheme not in ("lora", "qlora"):
        raise AdapterError(f"peft_scheme is {str(scheme)[:40]!r}; lora can be served.")
    lora = as_mapping(peft.get("lora_tuning"), "peft.lora_tuning")
    if lora.get("weight_tying"):
        raise AdapterError("weight_tying is set, which is not supported.")
    tensor, pipeline = (
        size(name, 1 if fields.get(name) is None else fields[name])
        for name in ("tensor_model_parallel_size", "pipeline_model_parallel_size")
    )
    rank = size("adapter_dim", lora.get("adapter_dim"), _MAX_RANK)
    base = peft.get("restore_from_path") or fields.get("restore_from_path")
    return NemoLora(
        rank=rank,
        factor=positive("alpha", rank if lora.get("alpha") is None else lora["alpha"]) / rank,
        made_for=base if isinstance(base, str) else "",
        config_name=NEMO1_CONFIG,
        weights="model_weights",
        layers=size("num_layers", fields.get("num_layers", 1), MAX_LAYERS),
        parallel=(tensor, pipeline),
        ranks_in_fc1=1 if has_ranks(members) else tensor,
        targets=_targets(lora.get("target_modules") or ["attention_qkv"], _NEMO1_TARGETS),
        in_every_layer=lora.get("layer_selection") is None,
    )


def _nemo2(members: Members, fields: Mapping[str, Any]) -> NemoLora | None:
    lora = fields.get("model_transform")
    if lora is None and _METADATA not in members.extents:
        return None
    lora = as_mapping(lora, "model_transform")
    kind = str(lora.get("_target_")).rpartition(".")[2]
    if kind not in ("LoRA", "CanonicalLoRA"):
        raise AdapterError(f"model_transform is {kind[:40]!r}; LoRA and CanonicalLoRA can be served.")
    rank = size("dim", lora.get("dim", _DEFAULT_RANK), _MAX_RANK)
    targets = lora.get("target_modules") or []
    return NemoLora(
        rank=rank,
        factor=positive("alpha", lora.get("alpha", _DEFAULT_RANK)) / rank,
        made_for=_base(members),
        config_name=NEMO2_CONFIG,
        weights="weights",
        layers=1,
        parallel=(1, 1),
        ranks_in_fc1=1,
        targets=_targets(targets, _NEMO2_TARGETS),
        in_every_layer="*" not in str(targets) and not lora.get("exclude_modules"),
    )


def _targets(names: object, known: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AdapterError("target_modules is no list of names.")
    last = [name.rpartition(".")[2] for name in names]
    for name in last:
        if name not in known:
            raise AdapterError(f"target_modules has {name[:40]!r}; {', '.join(known)} can be adapted here.")
    return frozenset(projection for name in last for projection in known[name])


def _base(members: Members) -> str:
    if _METADATA not in members.extents:
        return ""
    try:
        found = json.loads(members.read(_METADATA, _MAX_CONFIG))
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{_METADATA} is not valid JSON: {type(error).__name__}.") from None
    base = found.get("model_ckpt_path") if isinstance(found, dict) else None
    return base if isinstance(base, str) else ""
