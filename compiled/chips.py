"""Accelerators that are not there, as meshes to compile for: libtpu and JAX's CUDA plugin hold whole compilers."""

import re
from importlib.util import find_spec
from pathlib import Path

from jax.experimental import topologies
from jax.sharding import Mesh

from serving.topology import Topology
from sharding.mesh import make_mesh

_HOST_BOUNDS = {1: (1, 1, 1), 4: (2, 2, 1), 8: (2, 4, 1)}
"""How the chips of a TPU host lie, by their number: cloud.google.com/tpu/docs/v5e."""
_H100 = "NVIDIA H100 80GB HBM3"
_TARGET = re.compile(rb"gpu_device_info \{[\t\n\x20-\x7e]+")


def mesh_of(topology: Topology) -> Mesh:
    """Returns the chips of a group: TPU v5e or H100."""
    if topology.platform == "tpu":
        described = topologies.get_topology_desc(
            platform="tpu",
            topology_name=f"v5e:{topology.slice_shape}",
            chips_per_host_bounds=_HOST_BOUNDS[topology.chips_per_host],
        )
    else:
        described = topologies.get_topology_desc(
            "gpu", platform="cuda", topology=f"1x{topology.hosts}x{topology.chips_per_host}", target_config=_h100()
        )
    return make_mesh(topology.tensor_parallel, described.devices)


def _h100() -> str:
    """XLA's `GpuTargetConfigProto` of an H100, as text: the plugin has those of many GPUs in it."""
    plugin = find_spec("jax_plugins.xla_cuda13")
    if plugin is None or plugin.origin is None:
        raise ModuleNotFoundError(
            "jax_plugins.xla_cuda13: JAX's CUDA plugin is missing. Run make gpu-check, which gets it."
        )
    library = Path(plugin.origin).with_name("xla_cuda_plugin.so").read_bytes()
    texts = (found[0].decode() for found in _TARGET.finditer(library))
    return next(text for text in texts if f'device_description_str: "{_H100}"' in text)
