"""Accelerators that are not there, as meshes to compile for: libtpu and JAX's CUDA plugin hold whole compilers."""

import re
from importlib.util import find_spec
from pathlib import Path

from jax.experimental import topologies
from jax.sharding import Mesh

from serving.models.topology import Topology
from sharding.absent_devices import tpu_v5e_devices
from sharding.mesh import make_mesh

_H100 = "NVIDIA H100 80GB HBM3"
_TARGET = re.compile(rb"gpu_device_info \{[\t\n\x20-\x7e]+")


def mesh_of(topology: Topology) -> Mesh:
    """Returns the chips of a group: TPU v5e or H100."""
    if topology.slice_shape is not None:
        return make_mesh(topology.tensor_parallel, tpu_v5e_devices(topology.slice_shape, topology.hosts))
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
