"""How the work of a kernel is cut into programs; `bench/attention.py` measures what the choices are made from."""

from dataclasses import dataclass

from jax.experimental.pallas import triton


@dataclass(frozen=True)
class Tiling:
    """Sizes of one kernel; all but `stages` are powers of 2.

    Attributes:
      queries: M, rows of a program's products: query heads times tokens; at least 16 for the tensor cores.
      keys: positions of the KV cache in one of its steps.
      warps: of a program.
      stages: keys and values of so many steps are on their way or in use, in shared memory.
      shortest_split: cached positions that a program reads at least, if there are so many; a multiple of `keys`.
      most_splits: programs that share one sequence at most; longer sequences get longer splits.
    """

    queries: int
    keys: int
    warps: int
    stages: int
    shortest_split: int
    most_splits: int

    def compiler_params(self) -> triton.CompilerParams:
        return triton.CompilerParams(num_warps=self.warps, num_stages=self.stages)


DECODE = Tiling(queries=16, keys=32, warps=4, stages=2, shortest_split=64, most_splits=64)
"""Bound by memory: few queries, and many programs on a processor at once."""
PREFILL = Tiling(queries=64, keys=32, warps=4, stages=2, shortest_split=256, most_splits=8)
"""Bound by tensor cores and by what of a processor's shared memory two programs leave each other."""
