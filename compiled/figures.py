"""The figures of one compiled step, as they are committed and compared."""

from dataclasses import dataclass

from compiled.costs import Costs, costs
from compiled.hlo import Module
from compiled.steps import CompiledStep, Step

CONTEXT = 2048
"""Tokens of each row, for what kernels read of the KV cache."""
CYCLES_PER_SECOND = 1.5e9
"""Of a v5e chip: 197 T operations a second on four 128 x 128 units."""
HBM_BYTES_PER_SECOND = 819e9
"""Of a v5e chip: cloud.google.com/tpu/docs/v5e."""
_TOP_P = "top_p"
"""The scope of `sharding.truncation` that runs when a row draws by top-p."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one step on one chip; bytes unless the name says otherwise.

    Attributes:
      layers: of the model; with fewer than it has, the figures say less.
      memory: all that the program takes: arguments, results, temporaries and itself.
      beside: of these, what is neither weights nor KV cache nor the program.
      program: the program itself.
      not_aliased: of the KV cache, which should be 0.
      traffic: to and from HBM, with `CONTEXT` tokens in every row.
      minimum: every weight read once, each row's keys and values once, and the step's own written once.
      copies: of at least 1 MB that only change layout, dtype or place.
      collectives: how many.
      asynchronous: of these, how many run beside other work.
      covered: part of the kernels and collectives during which weights are on their way to VMEM.
      milliseconds: the compiler's estimate for a greedy step, without kernels and collectives.
      top_p_milliseconds: what top-p adds to it, where the largest logits say enough.
    """

    layers: int
    memory: int
    beside: int
    program: int
    not_aliased: int
    traffic: int
    minimum: int
    copies: int
    collectives: int
    asynchronous: int
    covered: float
    milliseconds: float
    top_p_milliseconds: float

    @property
    def ratio(self) -> float:
        """How many times the minimum the step moves."""
        return self.traffic / self.minimum

    @property
    def floor_milliseconds(self) -> float:
        """In which the traffic crosses HBM."""
        return self.traffic / HBM_BYTES_PER_SECOND * 1e3


def figures(step: Step, compiled: CompiledStep) -> tuple[Figures, Costs]:
    """Reads a program; returns the figures, and what they are made of."""
    memory = compiled.executable.memory_analysis()
    assert memory is not None  # the TPU's compiler has one
    module = Module.parse(compiled.executable.as_text() or "")
    found = costs(module, compiled.layer_cache_bytes)
    top_p = costs(module, compiled.layer_cache_bytes, _TOP_P).cycles - found.cycles
    cache = compiled.layer_cache_bytes * compiled.num_layers
    arguments, results = memory.argument_size_in_bytes, memory.output_size_in_bytes - memory.alias_size_in_bytes
    beside = arguments - compiled.weight_bytes - cache + results + memory.temp_size_in_bytes
    kv = (step.rows * CONTEXT + step.tokens) * compiled.kv_bytes
    return Figures(
        layers=compiled.num_layers,
        memory=compiled.weight_bytes + cache + beside + memory.generated_code_size_in_bytes,
        beside=beside,
        program=memory.generated_code_size_in_bytes,
        not_aliased=max(cache - memory.alias_size_in_bytes, 0),
        traffic=found.traffic + kv,
        minimum=compiled.weight_bytes + kv,
        copies=found.copies.total(),
        collectives=found.collectives.total(),
        asynchronous=found.asynchronous,
        covered=round(found.covered / max(found.waiting, 1), 3),
        milliseconds=round(found.cycles / CYCLES_PER_SECOND * 1e3, 2),
        top_p_milliseconds=round(top_p / CYCLES_PER_SECOND * 1e3, 2),
    ), found
