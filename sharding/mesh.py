"""The devices of one replica group as a JAX mesh."""

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

TENSOR = "tensor"
"""The one mesh axis: tensor parallelism. More throughput comes from more replica groups, not from a second axis."""


def make_mesh(tensor_parallel: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of `tensor_parallel` devices, the first of `devices` (by default: of all that JAX sees).

    Raises:
      ValueError: there are fewer devices.
    """
    devices = jax.devices() if devices is None else devices
    if not 1 <= tensor_parallel <= len(devices):
        raise ValueError(
            f"tensor_parallel={tensor_parallel}, but JAX sees {len(devices)} {devices[0].platform} device(s). "
            f"Choose 1 to {len(devices)}, or give the replica group more devices."
        )
    return jax.make_mesh((tensor_parallel,), (TENSOR,), (AxisType.Auto,), devices=devices[:tensor_parallel])
