"""Which array axis is split over which mesh axis: the whole parallelism story.

Weights are split by query head (N), KV head (K), MLP width (F) and vocabulary (V); everything else is replicated:

    q [N,D,E]  k, v [K,D,E]  o [E,N,D]    each device computes its heads; their outputs add up: one all-reduce
    gate, up [F,E]  down [E,F]            each device computes its part of F; one all-reduce
    embedder [V,E]                        look-up: one all-reduce; logits stay split by V

In a TPU's memory `o` has its heads outermost: [N,E,D], as its product reads it. In the order of its axes, a decode
loop would begin with a copy of it in every layer.

With fewer KV heads than devices, `k` and `v` are replicated and every device keeps the one KV head that its query
heads read, so that attention on a device is always a whole number of query heads per KV head.
"""

from collections.abc import Iterable

from jax.experimental.layout import Format, Layout
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sharding.config import GemmaConfig
from sharding.mesh import TENSOR
from sharding.sizes import split_axes

_TPU_ORDERS = {"END": (1, 0, 2)}
"""Axes from the outermost to the innermost in a TPU's memory, of arrays where it is not their order."""


def partition_spec(axes: Iterable[str], config: GemmaConfig, mesh: Mesh) -> PartitionSpec:
    """Returns how an array with these axes (letters as in `sharding`) is split."""
    split = split_axes(config, mesh.shape[TENSOR])
    return PartitionSpec(*(TENSOR if axis in split else None for axis in axes))


def named_sharding(axes: Iterable[str], config: GemmaConfig, mesh: Mesh) -> NamedSharding:
    """Returns `partition_spec` on the devices of `mesh`."""
    return NamedSharding(mesh, partition_spec(axes, config, mesh))


def placement(axes: str, config: GemmaConfig, mesh: Mesh) -> Format | NamedSharding:
    """Returns where and how an array with these axes lies on the devices of `mesh`."""
    sharding = named_sharding(axes, config, mesh)
    order = _TPU_ORDERS.get(axes) if mesh.devices.flat[0].platform == "tpu" else None
    return sharding if order is None else Format(Layout(order), sharding)
