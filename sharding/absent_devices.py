"""Devices that this machine does not have, to compile for: libtpu holds the whole compiler, and needs no TPU."""

import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies

_CHIPS_OF_SEVERAL_HOSTS = (2, 2, 1)


def tpu_v5e_devices(slice_shape: str, hosts: int) -> Sequence[jax.Device]:
    """The chips of a TPU v5e slice, such as `2x4`, that `hosts` machines have together.

    Call it before anything else loads libtpu: it sets what libtpu would otherwise ask a TPU machine.

    Raises:
      RuntimeError: libtpu is not installed.
    """
    rows, columns = map(int, slice_shape.split("x"))
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", f"v5litepod-{rows * columns}")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_WORKER_ID", "0")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # or one process at a time, by a file in /tmp
    topology = topologies.get_topology_desc(
        platform="tpu",
        topology_name=f"v5e:{slice_shape}",
        chips_per_host_bounds=(rows, columns, 1) if hosts == 1 else _CHIPS_OF_SEVERAL_HOSTS,
    )
    devices: Sequence[jax.Device] = topology.devices
    return devices
