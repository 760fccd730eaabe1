"""Sizing: from people who type to groups, chips, memory and money, with every step of the arithmetic.

An estimate: a decode step takes as long as its bytes take through the memory, and a prompt as long as its operations
take, both at a part of what the data sheet says. Nothing here was measured on accelerators.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from serving.autoscaling.policy import SHRINK_TO_FILL
from serving.autoscaling.traffic import DAY_S, active_part
from serving.cluster.chips import Chip
from serving.config import LimitsConfig, ModelConfig, Role
from serving.models.chip_memory import as_served, kv_tokens, reserve_bytes
from serving.models.topology import Accelerator, Topology
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from sharding.sizes import check_tensor_parallel, kv_bytes_per_token, num_parameters, weight_bytes

_SHAPES = {"codegemma-2b": CODEGEMMA_2B, "codegemma-7b": CODEGEMMA_7B}
_CHIPS_OF_ONE_HOST = {"tpu": (1, 4, 8), "gpu": (1, 2, 4, 8)}
_ITEMSIZE = {"float32": 4, "bfloat16": 2}
_HOURS_A_MONTH = 365 * 24 / 12
_WORKDAYS = 5 / 7


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What a developer at work does; assumptions, unless you have measured them.

    Attributes:
      keystrokes_per_minute: on average, pauses included.
      keystrokes_per_request: an editor asks when typing pauses, not at each key.
      chats_per_hour: chat requests.
      tokens: of a request, prompt and generated, by role.
      cached: part of a completion's prompt that its group still has.
    """

    keystrokes_per_minute: float = 40.0
    keystrokes_per_request: float = 20.0
    chats_per_hour: float = 6.0
    tokens: Mapping[Role, tuple[int, int]] = field(
        default_factory=lambda: {Role.FIM: (1500, 24), Role.CHAT: (1500, 400)}
    )
    cached: float = 0.7


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the arithmetic: what, how, and what comes out."""

    what: str
    how: str
    result: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is bought, and how much of it is used.

    Attributes:
      users: developers, all of them at work at the busiest time of the day.
      efficiency: part of the chip's bandwidth and operations that is really reached.
      price: US dollars for a chip and hour.
    """

    users: int
    habits: Habits
    chip: Chip
    efficiency: float
    price: float


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """What one model needs.

    Attributes:
      chips: of one group.
      groups: at the busiest time of the day.
      dollars: a month with that many groups all the time.
      dollars_autoscaled: a month with as many groups as each half hour of working days needs, at least one.
      steps: how each number came about.
    """

    model: str
    requests_per_s: float
    tokens_per_s: float
    chips: int
    groups: int
    dollars: float
    dollars_autoscaled: float
    steps: tuple[Step, ...]


def size_model(model: ModelConfig, shape: GemmaConfig, shares: Mapping[Role, float], plan: Plan) -> ModelSize:
    """What one model needs.

    Args:
      model: its topology gives the chips of a group, its limits the rows.
      shape: of its checkpoint.
      shares: the part of each role's requests that it answers.
      plan: for whom, and on what.

    Raises:
      ValueError: the model does not fit the chips, or they are of another kind than its topology says.
    """
    chip, chips = plan.chip, model.topology.tensor_parallel
    if model.topology.platform != chip.platform:
        raise ValueError(
            f"models.{model.id}.topology.accelerator is '{model.topology.accelerator}', but the chip {chip.name} is a "
            f"{chip.platform.upper()}. Choose another --chip, or another file."
        )
    shape = as_served(model, shape)
    check_tensor_parallel(shape, chips)
    memory = _Memory(model, shape, chip)
    work = [_Work(role, share, memory, plan) for role, share in shares.items()]
    load = sum(one.load for one in work)
    groups = max(1, math.ceil(load / SHRINK_TO_FILL))
    month = groups * chips * plan.price * _HOURS_A_MONTH
    daily = _group_hours(load) * _WORKDAYS + 24 * (1 - _WORKDAYS)
    autoscaled = daily * chips * plan.price * _HOURS_A_MONTH / 24
    busy = " + ".join(f"{one.load:.3g}" for one in work)
    totals = (
        Step("groups", f"{busy} busy / {SHRINK_TO_FILL:g} full, rounded up", str(groups)),
        Step("chips", f"{groups} x {chips} {chip.name} of {_gb(chip.memory)}", str(groups * chips)),
        Step("memory", f"{groups * chips} x {_gb(chip.memory)}", _gb(groups * chips * chip.memory)),
        Step("a month", f"{groups * chips} x {_HOURS_A_MONTH:.0f} h x ${plan.price:g}", f"${month:,.0f}"),
        Step(
            "autoscaled",
            f"{daily:.1f} group-hours a day x {chips} x {_HOURS_A_MONTH / 24:.1f} days x ${plan.price:g}",
            f"${autoscaled:,.0f}",
        ),
    )
    return ModelSize(
        model=model.id,
        requests_per_s=sum(one.requests_per_s for one in work),
        tokens_per_s=sum(one.requests_per_s * one.tokens for one in work),
        chips=chips,
        groups=groups,
        dollars=month,
        dollars_autoscaled=autoscaled,
        steps=(*memory.steps(), *(step for one in work for step in one.steps()), *totals),
    )


def size_usual_models(plan: Plan) -> list[ModelSize]:
    """CodeGemma 2B for completion and 7B-IT for chat, each in groups of as many chips of a host as is cheapest."""
    usual = (("codegemma-2b", Role.FIM, 32), ("codegemma-7b-it", Role.CHAT, 16))
    return [_cheapest(name, role, rows, plan) for name, role, rows in usual]


def _cheapest(name: str, role: Role, rows: int, plan: Plan) -> ModelSize:
    accelerator: Accelerator = "tpu-v5litepod" if plan.chip.platform == "tpu" else "gpu"
    sizes = []
    for chips in _CHIPS_OF_ONE_HOST[plan.chip.platform]:
        model = ModelConfig(
            id=name,
            checkpoint=name,
            roles=(role,),
            topology=Topology(accelerator=accelerator, chips_per_host=chips),
            limits=LimitsConfig(max_rows=rows),
        )
        with suppress(ValueError):  # that few chips do not hold it
            sizes.append(size_model(model, shape_of(model), {role: 1.0}, plan))
    return min(sizes, key=lambda size: size.dollars)


def shape_of(model: ModelConfig, model_config: Path | None = None) -> GemmaConfig:
    """The shape of a model: from its checkpoint if that is here, from its name, or from a `config.json`.

    Raises:
      ValueError: it cannot be known.
    """
    if Path(model.checkpoint).expanduser().exists():
        return _shape_of_checkpoint(model)
    names = (model.id, model.checkpoint.rstrip("/").rpartition("/")[2])
    for known, shape in _SHAPES.items():
        if any(name.startswith(known) for name in names):
            return shape
    if model_config is None:
        raise ValueError(
            f"models.{model.id}: its checkpoint {model.checkpoint!r} is not on this machine, and its name does not "
            f"tell its shape (those of {', '.join(_SHAPES)} do). Give its Hugging Face config.json with --model-config."
        )
    return _read_shape(model_config)


def _shape_of_checkpoint(model: ModelConfig) -> GemmaConfig:
    from sharding.checkpoint import CheckpointError, open_checkpoint  # reads headers with numpy

    try:
        return open_checkpoint(Path(model.checkpoint).expanduser()).config
    except (CheckpointError, OSError) as error:
        raise ValueError(f"models.{model.id}: its checkpoint cannot be read: {error}") from None


def _read_shape(file: Path) -> GemmaConfig:
    from sharding.checkpoint.errors import CheckpointError
    from sharding.checkpoint.huggingface import read_config_file

    try:
        return read_config_file(file)
    except CheckpointError as error:
        raise ValueError(f"--model-config {error}") from None


class _Memory:
    """What a chip of a group holds.

    Attributes:
      weights: bytes of its share of the parameters.
      kv_token: bytes of keys and values of one token.
      kv: tokens that fit beside the weights.
    """

    def __init__(self, model: ModelConfig, shape: GemmaConfig, chip: Chip) -> None:
        self.chips, self.max_rows = model.topology.tensor_parallel, model.limits.max_rows
        self.itemsize = _ITEMSIZE[model.dtype]
        self.quantization = shape.quantization
        self.parameters = num_parameters(shape)
        self.weights = weight_bytes(shape, self.chips, self.itemsize)
        self.kv_token = kv_bytes_per_token(shape, self.chips, self.itemsize)
        self.kv = kv_tokens(model, shape, chip.memory)
        self._reserve = reserve_bytes(model, shape, model.topology.tensor_parallel)
        self._chip = chip

    def steps(self) -> Iterator[Step]:
        """The arithmetic."""
        parameters = f"{self.parameters / 1e9:.3g} G parameters"
        each = f"{self.quantization}" if self.quantization else f"{self.itemsize} bytes"
        yield Step("weights a chip", f"{parameters} x {each} / {self.chips}", _gb(self.weights))
        room = f"{_gb(self._chip.memory)} - {_gb(self._reserve)} reserve - {_gb(self.weights)}"
        yield Step("KV cache a chip", f"({room}) / {self.kv_token / 1024:g} KiB a token", f"{self.kv:,} tokens")


class _Work:
    """What the requests of one role take of a group.

    Attributes:
      requests_per_s: at the busiest time.
      tokens: of a request, prompt and generation.
      load: groups that they keep busy.
    """

    def __init__(self, role: Role, share: float, memory: _Memory, plan: Plan) -> None:
        self._role, self._share, self._memory, self._plan = role, share, memory, plan
        habits, chip = plan.habits, plan.chip
        self._prompt, self._generated = habits.tokens[role]
        self._new = self._prompt * (1 - habits.cached if role is Role.FIM else 1)
        self.tokens = self._prompt + self._generated
        self.requests_per_s = plan.users * share * _requests_per_hour(role, habits) / 3600
        self._rows = max(1, min(memory.max_rows, memory.kv // self.tokens))
        self._held = self._prompt + self._generated // 2
        read = memory.weights + self._rows * self._held * memory.kv_token
        self._step_s = read / (chip.bandwidth * plan.efficiency)
        operations = 2 * memory.parameters * self._new
        self._prompt_s = operations / (memory.chips * chip.flops * plan.efficiency)
        self.load = self.requests_per_s * (self._prompt_s + self._generated * self._step_s / self._rows)

    def steps(self) -> Iterator[Step]:
        """The arithmetic."""
        role, memory, chip, at = self._role, self._memory, self._plan.chip, f"x {self._plan.efficiency:g}"
        habits, per_s = self._plan.habits, self.requests_per_s
        each = (
            f"{habits.keystrokes_per_minute:g} keys a minute / {habits.keystrokes_per_request:g} / 60"
            if role is Role.FIM
            else f"{habits.chats_per_hour:g} an hour / 3600"
        )
        share = "" if self._share == 1 else f" x {self._share:.2g}"
        yield Step(f"{role}: requests/s", f"{self._plan.users} users x {each}{share}", f"{per_s:.3g}")
        tokens = f"({self._prompt} + {self._generated})"
        yield Step(f"{role}: tokens/s", f"{per_s:.3g} x {tokens}", f"{per_s * self.tokens:,.0f}")
        yield Step(f"{role}: rows", f"at most {memory.max_rows}, {memory.kv:,} / {tokens}", str(self._rows))
        read = f"{_gb(memory.weights)} + {self._rows} x {self._held} x {memory.kv_token / 1024:g} KiB"
        yield Step(f"{role}: a step", f"({read}) / ({chip.bandwidth / 1e9:g} GB/s {at})", _ms(self._step_s))
        operations = f"2 x {memory.parameters / 1e9:.3g} G x {self._new:.0f} new tokens"
        computed = f"({memory.chips} x {chip.flops / 1e12:g} TFLOP/s {at})"
        yield Step(f"{role}: a prompt", f"{operations} / {computed}", _ms(self._prompt_s))
        answer_s = self._prompt_s + self._generated * self._step_s
        answer = f"{_ms(self._prompt_s)} + {self._generated} x {_ms(self._step_s)}"
        yield Step(f"{role}: an answer", f"{answer}, in a full batch", _ms(answer_s))
        shared = f"{_ms(self._prompt_s)} + {self._generated} x {_ms(self._step_s)} / {self._rows} rows"
        yield Step(f"{role}: busy groups", f"{per_s:.3g} x ({shared})", f"{self.load:.3g}")


def _requests_per_hour(role: Role, habits: Habits) -> float:
    if role is Role.FIM:
        return habits.keystrokes_per_minute * 60 / habits.keystrokes_per_request
    return habits.chats_per_hour


def _group_hours(load: float) -> float:
    """Group-hours of a working day with just as many groups as each half hour needs, at least one."""
    half_hours = [active_part(DAY_S * (i + 0.5) / 48) for i in range(48)]
    return sum(max(1, math.ceil(load * part / SHRINK_TO_FILL)) for part in half_hours) / 2


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size < 1e12 else f"{size / 1e12:.3g} TB"


def _ms(duration_s: float) -> str:
    return f"{duration_s * 1e3:.3g} ms" if duration_s < 1 else f"{duration_s:.3g} s"
