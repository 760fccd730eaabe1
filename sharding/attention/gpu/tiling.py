"""How the work of a kernel is cut into programs."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.experimental.pallas import triton
from jax.typing import DTypeLike


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


def decode_tiling(dtype: DTypeLike) -> Tiling:
    """One token's heads: bound by memory, so few queries, and many bytes on their way."""
    keys = 64 if jnp.dtype(dtype).itemsize == 2 else 32
    return Tiling(queries=16, keys=keys, warps=4, stages=2, shortest_split=128, most_splits=64)


def prefill_tiling(dtype: DTypeLike) -> Tiling:
    """Many tokens: bound by the tensor cores, so as many queries as registers and shared memory hold."""
    if jnp.dtype(dtype).itemsize == 2:
        return Tiling(queries=64, keys=64, warps=4, stages=2, shortest_split=256, most_splits=8)
    return Tiling(queries=32, keys=32, warps=4, stages=2, shortest_split=256, most_splits=8)
