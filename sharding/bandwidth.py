"""Memory bandwidth of devices, measured: a step reads every weight once, and that takes at least so long."""

import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_REPEATS = 3
PASSES = 4
"""In one measurement, so that launching them and waiting for them counts for little."""


def memory_bandwidth(devices: Sequence[jax.Device], size: int) -> float:
    """Returns the bytes per second that each of the devices reads and writes, the best of a few times.

    Args:
      devices: of this process; all go through an array of their own at the same time.
      size: of each array in bytes; take many times what caches hold.
    """
    over_devices = NamedSharding(Mesh(np.asarray(devices), ("device",)), PartitionSpec("device"))
    shape = jax.ShapeDtypeStruct((len(devices), size // 4), jnp.float32, sharding=over_devices)
    change = jax.jit(lambda array: array + 1, donate_argnums=0).lower(shape).compile()
    array = jnp.zeros(shape.shape, shape.dtype, device=over_devices).block_until_ready()
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        for _ in range(PASSES):
            array = change(array)
        array.block_until_ready()
        best = min(best, time.perf_counter() - began)
    return 2 * size * PASSES / best
