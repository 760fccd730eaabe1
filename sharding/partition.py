"""Which array axis is split over which mesh axis: the whole parallelism story.

Weights are split by query head (N), KV head (K), MLP width (F) and vocabulary (V); everything else is replicated:

    q [N,D,E]  k, v [K,D,E]  o [E,N,D]    each device computes its heads; their outputs add up: one all-reduce
    gate, up [F,E]  down [E,F]            each device computes its part of F; one all-reduce
    embedder [V,E]                        look-up: one all-reduce; logits stay split by V

With fewer KV heads than devices, `k` and `v` are replicated and every device keeps the one KV head that its query
heads read, so that attention on a device is always a whole number of query heads per KV head (`heads_per_device`).
"""

from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sharding.config import GemmaConfig
from sharding.mesh import TENSOR

SPLIT = frozenset("NKFV")
"""The axes that are split."""


def heads_per_device(config: GemmaConfig, devices: int) -> tuple[int, int]:
    """Returns how many query heads and how many KV heads a device holds."""
    return config.num_heads // devices, max(config.num_kv_heads // devices, 1)


def check_tensor_parallel(config: GemmaConfig, devices: int) -> None:
    """Refuses a degree of parallelism that does not divide the model.

    Raises:
      ValueError: with the arithmetic, and the degrees that work.
    """
    reasons = _obstacles(config, devices)
    if reasons:
        possible = [n for n in range(1, config.num_heads + 1) if not _obstacles(config, n)]
        raise ValueError(
            f"tensor_parallel={devices} does not divide this model: {'; '.join(reasons)}. "
            f"Choose one of {', '.join(map(str, possible))}."
        )


def _obstacles(config: GemmaConfig, devices: int) -> list[str]:
    split = {"heads": config.num_heads, "MLP width": config.mlp_dim, "vocabulary": config.vocab_size}
    reasons = [
        f"{name} {size} = {devices} x {size // devices} + {size % devices}"
        for name, size in split.items()
        if size % devices
    ]
    kv_heads = config.num_kv_heads
    if kv_heads % devices and devices % kv_heads:
        reasons.append(f"KV heads {kv_heads}: neither of {kv_heads} and {devices} is a multiple of the other")
    return reasons


def partition_spec(axes: tuple[str, ...], config: GemmaConfig, mesh: Mesh) -> PartitionSpec:
    """Returns how an array with these axes (names as in `sharding`) is split."""
    replicated = {"K"} if config.num_kv_heads % mesh.shape[TENSOR] else set()
    return PartitionSpec(*(TENSOR if axis in SPLIT - replicated else None for axis in axes))


def named_sharding(axes: tuple[str, ...], config: GemmaConfig, mesh: Mesh) -> NamedSharding:
    """Returns `partition_spec` on the devices of `mesh`."""
    return NamedSharding(mesh, partition_spec(axes, config, mesh))
