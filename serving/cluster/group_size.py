"""GroupSize: what a chip of a group holds, and how fast the group's steps are."""

from collections.abc import Iterator, Sequence

from serving.autoscaling.pace import Pace
from serving.cluster.arithmetic import Step, gigabytes, milliseconds
from serving.cluster.chips import Chip
from serving.cluster.habits import Habits
from serving.config import ModelConfig, Role
from serving.models.chip_memory import as_served, check_model, kv_tokens, reserve_bytes
from sharding.config import GemmaConfig
from sharding.sizes import kv_bytes_per_token, num_parameters, weight_bytes

_ITEMSIZE = {"float32": 4, "bfloat16": 2}


class GroupSize:
    """A group of a model on chips.

    Attributes:
      rows: requests that run at the same time, each with all its tokens in the KV cache.
      pace: of its steps, at a part of what the data sheet says. With one half, no step on the H100 of bench/README.md
        took longer by more than 8%, and what TPU v5e's compiler makes of them (docs/performance.md) takes less.
    """

    def __init__(
        self,
        model: ModelConfig,
        shape: GemmaConfig,
        chip: Chip,
        roles: Sequence[Role],
        habits: Habits,
        efficiency: float,
    ) -> None:
        """Sizes a group.

        Raises:
          ValueError: the model does not fit the chips, or they are of another kind than its topology says; or requests
            are longer than its context.
        """
        if model.topology.platform != chip.platform:
            raise ValueError(
                f"models.{model.id}.topology.accelerator is '{model.topology.accelerator}', but the chip {chip.name} "
                f"is a {chip.platform.upper()}. Choose another --chip, or another file."
            )
        check_model(model, shape)
        for role in roles:
            _check_context(model, role, habits)
        shape = as_served(model, shape)
        chips, itemsize = model.topology.tensor_parallel, _ITEMSIZE[model.dtype]
        self._chip, self._chips, self._efficiency = chip, chips, efficiency
        self._each = f"{shape.quantization}" if shape.quantization else f"{itemsize} bytes"
        self._parameters = num_parameters(shape)
        self._weights = weight_bytes(shape, chips, itemsize)
        self._kv_token = kv_bytes_per_token(shape, chips, itemsize)
        self._kv = kv_tokens(model, shape, chip.memory)
        self._reserve = 0 if chip.platform == "cpu" else reserve_bytes(model, shape, chips)
        self._max_rows = model.limits.max_rows
        self._longest = max(sum(habits.tokens[role]) for role in roles)
        self._held = max(prompt + generated // 2 for prompt, generated in (habits.tokens[role] for role in roles))
        self.rows = min(self._max_rows, self._kv // self._longest)
        bandwidth, token_s = chip.bandwidth * efficiency, 2 * self._parameters / (chips * chip.flops * efficiency)
        self.pace = Pace(
            step_s=self._weights / bandwidth,
            row_s=self._held * self._kv_token / bandwidth + token_s,
            prompt_token_s=token_s,
            step_tokens=model.limits.max_step_tokens,
        )

    def steps(self) -> Iterator[Step]:
        """The arithmetic."""
        chip, at = self._chip, f"x {self._efficiency:g}"
        weights = f"{self._parameters / 1e9:.3g} G parameters x {self._each} / {self._chips}"
        yield Step("weights a chip", weights, gigabytes(self._weights))
        if chip.platform != "cpu":
            room = f"{gigabytes(chip.memory)} - {gigabytes(self._reserve)} reserve - {gigabytes(self._weights)}"
            kv = f"({room}) / {self._kv_token / 1024:g} KiB a token"
            yield Step("KV cache a chip", kv, f"{self._kv:,} tokens")
        yield Step("rows", f"at most {self._max_rows}, {self._kv:,} / {self._longest}", str(self.rows))
        read = f"{gigabytes(self._weights)} / ({chip.bandwidth / 1e9:g} GB/s {at})"
        yield Step("a step", read, milliseconds(self.pace.step_s))
        computed = f"2 x {self._parameters / 1e9:.3g} G / ({self._chips} x {chip.flops / 1e12:g} TFLOP/s {at})"
        yield Step("a token in it", computed, milliseconds(self.pace.prompt_token_s))
        row = f"{self._held} x {self._kv_token / 1024:g} KiB / ({chip.bandwidth / 1e9:g} GB/s {at}) + that"
        yield Step("a row in it", row, milliseconds(self.pace.row_s))


def _check_context(model: ModelConfig, role: Role, habits: Habits) -> None:
    prompt, generated = habits.tokens[role]
    if prompt + generated > model.limits.max_context:
        raise ValueError(
            f"--{role}-tokens {prompt} {generated} are {prompt + generated} tokens, more than models.{model.id}.limits."
            f"max_context={model.limits.max_context}: no request is longer. Lower them, or raise max_context."
        )
