"""The devices of one replica group, on one or several hosts, as a JAX mesh."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh

from sharding.freed_memory import keep_freed_memory

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


def use_devices(platform: str, cpu_devices: int = 1) -> None:
    """Makes JAX use the devices of `platform` (`cpu`, `gpu` or `tpu`), and fail where there are none; call it first.

    Args:
      platform: of the mesh to come.
      cpu_devices: as how many devices a CPU appears.
    """
    platforms = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}[platform]
    jax.config.update("jax_platforms", platforms)
    if platform == "cpu":
        jax.config.update("jax_num_cpu_devices", cpu_devices)
        keep_freed_memory()


def join_hosts(coordinator: str, hosts: int, rank: int) -> None:
    """Makes the devices of all hosts appear in each of them; returns when all have called it.

    From then on every host compiles and runs the same programs in the same order.

    Args:
      coordinator: `ip:port` on the host with rank 0, where it will listen.
      hosts: how many there are.
      rank: of this one.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(coordinator, hosts, rank, cluster_detection_method="deactivate")


def smallest_over_hosts(value: int) -> int:
    """Returns the smallest of the hosts' values; all of them call it."""
    return int(multihost_utils.process_allgather(np.int32(value // 1024)).min()) * 1024


def same_on_all_hosts(value: int) -> bool:
    """Returns whether every host has the same value, of 32 bits and not negative; all of them call it."""
    return np.unique(multihost_utils.process_allgather(np.uint32(value))).size == 1


def of_first_host(value: int) -> int:
    """Returns the first host's value, of 32 bits and not negative; all of them call it."""
    return int(multihost_utils.broadcast_one_to_all(np.uint32(value)))
