"""Which array axis is split over which mesh axis: the whole parallelism story.

Weights are split by query head (N), KV head (K), MLP width (F) and vocabulary (V); everything else is replicated:

    q [N,D,E]  k, v [K,D,E]  o [E,N,D]    each device computes its heads; their outputs add up: one all-reduce
    gate, up [F,E]  down [E,F]            each device computes its part of F; one all-reduce
    embedder [V,E]                        look-up: one all-reduce; logits stay split by V

With fewer KV heads than devices, `k` and `v` are replicated and every device keeps the one KV head that its query
heads read, so that attention on a device is always a whole number of query heads per KV head.
"""

from collections.abc import Iterable

from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sharding.config import GemmaConfig
from sharding.mesh import TENSOR
from sharding.sizes import split_axes


def partition_spec(axes: Iterable[str], config: GemmaConfig, mesh: Mesh) -> PartitionSpec:
    """Returns how an array with these axes (letters as in `sharding`) is split."""
    split = split_axes(config, mesh.shape[TENSOR])
    return PartitionSpec(*(TENSOR if axis in split else None for axis in axes))


def named_sharding(axes: Iterable[str], config: GemmaConfig, mesh: Mesh) -> NamedSharding:
    """Returns `partition_spec` on the devices of `mesh`."""
    return NamedSharding(mesh, partition_spec(axes, config, mesh))
