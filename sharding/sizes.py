"""How a model divides over devices, and the bytes each holds: arithmetic on `GemmaConfig`, without JAX."""

from sharding.config import GemmaConfig


def heads_per_device(config: GemmaConfig, devices: int) -> tuple[int, int]:
    """Returns how many query heads and how many KV heads a device holds; see `sharding.partition`."""
    return config.num_heads // devices, max(config.num_kv_heads // devices, 1)


def weight_bytes(config: GemmaConfig, devices: int, itemsize: int) -> int:
    """Returns the bytes of parameters on each of the devices, split as `sharding.partition` says."""
    heads, kv_heads = heads_per_device(config, devices)
    stored_kv_heads = kv_heads if config.num_kv_heads % devices == 0 else config.num_kv_heads
    projections = (2 * heads + 2 * stored_kv_heads) * config.head_dim + 3 * config.mlp_dim // devices
    norms = (4 if config.post_norms else 2) * config.embed_dim + (2 * config.head_dim if config.qk_norm else 0)
    layers = config.num_layers * (projections * config.embed_dim + norms)
    return itemsize * (config.vocab_size // devices * config.embed_dim + layers + config.embed_dim)


def kv_bytes_per_token(config: GemmaConfig, devices: int, itemsize: int) -> int:
    """Returns the bytes of keys and values that one token takes on each of the devices."""
    _, kv_heads = heads_per_device(config, devices)
    return itemsize * config.num_layers * 2 * kv_heads * config.head_dim


def divides(config: GemmaConfig, devices: int) -> bool:
    """Whether the model can be split over that many devices."""
    return not _obstacles(config, devices)


def check_tensor_parallel(config: GemmaConfig, devices: int) -> None:
    """Refuses a degree of parallelism that does not divide the model.

    Raises:
      ValueError: with the arithmetic, and the degrees that work.
    """
    reasons = _obstacles(config, devices)
    if reasons:
        possible = [n for n in range(1, config.num_heads + 1) if divides(config, n)]
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
