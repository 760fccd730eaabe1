"""Kept: what a device keeps of each sequence from step to step, by slot."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from sharding.step import MAX_BIASES, Limits


class Kept[A](NamedTuple):
    """Replicated over the devices; 4 MB for 32 rows of 8192 tokens.

    Penalties read what has come from here and not from the host, which is a step behind, and not from counts by token,
    which would be 50 MB and could not tell the last n tokens.

    Attributes:
      newest: int32 [slots], the token that each drew last.
      token_ids: int32 [slots, max_context], each sequence's tokens: those drawn, and where it has penalties those
        before. Others are meaningless.
      bias_ids: int32 [slots, MAX_BIASES]; meaningless behind those that the sequence has, as the next.
      biases: float32 [slots, MAX_BIASES].
    """

    newest: A
    token_ids: A
    bias_ids: A
    biases: A

    @staticmethod
    def abstract(limits: Limits, sharding: NamedSharding) -> "Kept[jax.ShapeDtypeStruct]":
        """Its shapes, dtypes and sharding."""
        slots = limits.slots

        def array(*shape: int, dtype: type[np.generic] = np.int32) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

        return Kept(
            newest=array(slots),
            token_ids=array(slots, limits.max_context),
            bias_ids=array(slots, MAX_BIASES),
            biases=array(slots, MAX_BIASES, dtype=np.float32),
        )

    @staticmethod
    def new(abstract: "Kept[jax.ShapeDtypeStruct]") -> "Kept[jax.Array]":
        """Zeros as `abstract` describes them."""
        return Kept(*(jnp.zeros(array.shape, array.dtype, device=array.sharding) for array in abstract))
