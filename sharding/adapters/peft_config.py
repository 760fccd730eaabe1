"""`adapter_config.json` of PEFT: what decides how an adapter is computed; the rest is refused by name or ignored."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharding.adapters.adapter import AdapterError

PROJECTIONS = {
    "q_proj": "attention.q",
    "k_proj": "attention.k",
    "v_proj": "attention.v",
    "o_proj": "attention.o",
    "gate_proj": "mlp.gate",
    "up_proj": "mlp.up",
    "down_proj": "mlp.down",
}
"""What can be adapted, as PEFT and as `sharding.parameters` call it."""

_MAX_BYTES = 1 << 20
_READ = {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules"}
_OF_TRAINING = {
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",  # read below
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
}
"""Fields that say nothing of how it is computed, or nothing that the tensors do not say."""
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq")
"""Ways to begin training that change the model's own weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftConfig:
    """What the tensors of an adapter do not say.

    Attributes:
      base_model: what it was made for, as it says; empty where it does not.
      target_modules: those that it adapts; None: they are described otherwise.
    """

    default_rank: int
    default_alpha: float
    rank_stabilised: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    target_modules: frozenset[str] | None
    base_model: str

    @property
    def highest_rank(self) -> int:
        """Of all its projections."""
        return max(self.default_rank, *self.rank_pattern.values(), 1)

    def rank(self, module: str) -> int:
        """Of a module, such as `model.layers.0.self_attn.q_proj`."""
        return _of(module, self.rank_pattern, self.default_rank)

    def factor(self, module: str) -> float:
        """By which what the module's adapter adds is multiplied."""
        rank = self.rank(module)
        return _of(module, self.alpha_pattern, self.default_alpha) / (math.sqrt(rank) if self.rank_stabilised else rank)

    def names(self, projection: str) -> bool:
        """Whether it says by its name alone that a projection is adapted."""
        return self.target_modules is not None and projection in self.target_modules

    def targets(self, projection: str) -> bool:
        """Whether a projection may be adapted, by its name or by that of a module."""
        return self.target_modules is None or any(f".{name}".endswith(f".{projection}") for name in self.target_modules)


def read_config(file: Path) -> PeftConfig:
    """Returns an adapter's configuration.

    Raises:
      AdapterError: it cannot be read, or asks for what would be computed otherwise.
    """
    try:
        if file.exists() and not file.is_file():  # opening a pipe waits for its writer
            raise AdapterError(f"{file}: it is no regular file.")
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
        fields = json.loads(data) if len(data) <= _MAX_BYTES else None
    except OSError as error:
        raise AdapterError(f"{file}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{file}: no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise AdapterError(f"{file}: no configuration of an adapter: a JSON object of at most {_MAX_BYTES} bytes is.")
    _check_supported(file, fields)
    rank, alpha = fields.get("r"), fields.get("lora_alpha")
    base, targets = fields.get("base_model_name_or_path"), fields.get("target_modules")
    return PeftConfig(
        default_rank=_rank(file, "r", rank),
        default_alpha=_alpha(file, "lora_alpha", alpha),
        rank_stabilised=_rank_stabilised(file, fields.get("use_rslora", False)),
        rank_pattern={key: _rank(file, f"rank_pattern.{key}", value) for key, value in _pattern(file, fields, "rank")},
        alpha_pattern={
            key: _alpha(file, f"alpha_pattern.{key}", value) for key, value in _pattern(file, fields, "alpha")
        },
        target_modules=_targets(file, targets),
        base_model=base[:200] if isinstance(base, str) else "",
    )


def _check_supported(file: Path, fields: dict[str, Any]) -> None:
    if fields.get("peft_type") != "LORA":
        raise AdapterError(f"{file}: peft_type is {_shown(fields.get('peft_type'))}; LORA can be served.")
    if fields.get("task_type") not in (None, "CAUSAL_LM"):
        raise AdapterError(f"{file}: task_type is {_shown(fields['task_type'])}; CAUSAL_LM can be served.")
    if fields.get("bias", "none") != "none":
        raise AdapterError(f"{file}: bias is {_shown(fields['bias'])}; only adapters without biases can be served.")
    begun = fields.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower().startswith(_CHANGED_BASE):
        raise AdapterError(
            f"{file}: init_lora_weights is {_shown(begun)}, which changes the model's own weights. Save it as a plain "
            "LoRA: PEFT's save_pretrained does with path_initial_model_for_weight_conversion."
        )
    for name, value in fields.items():
        # Also what future versions add: what is not used is null, false or empty.
        if name not in _READ | _OF_TRAINING | {"bias"} and value not in (None, False, 0, "", [], {}):
            raise AdapterError(f"{file}: {name[:100]} is {_shown(value)}, which is not supported here.")


def _rank(file: Path, name: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= 1 << 16:
        raise AdapterError(f"{file}: {name} is {_shown(value)}; it is a rank, at least 1.")
    return value


def _alpha(file: Path, name: str, value: object) -> float:
    if type(value) not in (int, float) or not 0 < abs(value) <= 1e6:  # type: ignore[arg-type]
        raise AdapterError(f"{file}: {name} is {_shown(value)}; it is a number other than 0.")
    return float(value)  # type: ignore[arg-type]


def _rank_stabilised(file: Path, value: object) -> bool:
    if type(value) is not bool:
        raise AdapterError(f"{file}: use_rslora is {_shown(value)}; it is true or false.")
    return value


def _pattern(file: Path, fields: dict[str, Any], what: str) -> list[tuple[str, object]]:
    name = f"{what}_pattern"
    pattern = fields.get(name) or {}
    if not isinstance(pattern, dict):
        raise AdapterError(f"{file}: {name} is {_shown(pattern)}; it is an object.")
    for key in pattern:
        if not key.removeprefix("^").replace(".", "").replace("_", "").isalnum():
            raise AdapterError(f"{file}: {name} has {_shown(key)}; write out the names of the modules.")
    return list(pattern.items())


def _targets(file: Path, value: object) -> frozenset[str] | None:
    if isinstance(value, str) or value is None:  # `all-linear`, or a regular expression
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise AdapterError(f"{file}: target_modules is {_shown(value)}; it is a list of names.")
    for name in value:
        if name.rpartition(".")[2] not in PROJECTIONS:
            raise AdapterError(
                f"{file}: target_modules has {_shown(name)}; what can be adapted here is {', '.join(PROJECTIONS)}."
            )
    return frozenset(value)


def _of[T](module: str, pattern: Mapping[str, T], default: T) -> T:
    """The value of the first key that is the module's name, or the end of it after a dot."""
    for key, value in pattern.items():
        if module == key.removeprefix("^") or (not key.startswith("^") and module.endswith(f".{key}")):
            return value
    return default


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
