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
    """

    queries: int
    keys: int
    warps: int
    stages: int

    def compiler_params(self) -> triton.CompilerParams:
        return triton.CompilerParams(num_warps=self.warps, num_stages=self.stages)


def decode_tiling(dtype: DTypeLike) -> Tiling:
    """One token's heads: bound by memory, so few queries, and many bytes on their way."""
    return Tiling(queries=16, keys=64 if jnp.dtype(dtype).itemsize == 2 else 32, warps=4, stages=2)


def prefill_tiling(dtype: DTypeLike) -> Tiling:
    """Many tokens: bound by the tensor cores, so as many queries as registers and shared memory hold."""
    if jnp.dtype(dtype).itemsize == 2:
        return Tiling(queries=128, keys=64, warps=8, stages=2)
    return Tiling(queries=32, keys=32, warps=4, stages=2)
