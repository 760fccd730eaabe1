"""Memory bandwidth of devices, measured: what a step, which reads every weight once, cannot be faster than."""

import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_REPEATS = 5


def copy_bandwidth(devices: Sequence[jax.Device], size: int) -> float:
    """Returns the bytes per second that each of the devices reads and writes while all copy at the same time.

    The best of a few copies; the devices are of this process.

    Args:
      size: bytes that each device copies; take many times what its caches hold.
    """
    over_devices = NamedSharding(Mesh(np.asarray(devices), ("device",)), PartitionSpec("device"))
    shape = jax.ShapeDtypeStruct((len(devices), size // 4), jnp.float32, sharding=over_devices)
    copy = jax.jit(lambda array: array + 1, donate_argnums=0).lower(shape).compile()
    array = jnp.zeros(shape.shape, shape.dtype, device=over_devices).block_until_ready()
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        array = copy(array).block_until_ready()
        best = min(best, time.perf_counter() - began)
    return 2 * size / best
