"""TPU v5e chips that are not there, as a mesh to compile for: libtpu holds the whole compiler."""

import os

from jax.experimental import topologies
from jax.sharding import Mesh

from serving.topology import Topology
from sharding.mesh import make_mesh

_HOST_BOUNDS = {1: (1, 1, 1), 4: (2, 2, 1), 8: (2, 4, 1)}
"""How the chips of a host lie, by their number: cloud.google.com/tpu/docs/v5e."""


def prepare_libtpu() -> None:
    """Says to libtpu what it would otherwise ask a TPU machine's metadata server; call it before anything else."""
    os.environ.update(
        TPU_SKIP_MDS_QUERY="1",
        TPU_ACCELERATOR_TYPE="v5litepod-8",
        TPU_WORKER_HOSTNAMES="localhost",
        TPU_WORKER_ID="0",
        ALLOW_MULTIPLE_LIBTPU_LOAD="1",  # else one process on a machine at a time
        TF_CPP_MIN_LOG_LEVEL="3",
        JAX_PLATFORMS="cpu",
    )


def v5e_mesh(topology: Topology) -> Mesh:
    """Returns the chips of a group."""
    described = topologies.get_topology_desc(
        platform="tpu",
        topology_name=f"v5e:{topology.slice_shape}",
        chips_per_host_bounds=_HOST_BOUNDS[topology.chips_per_host],
    )
    return make_mesh(topology.tensor_parallel, described.devices)
