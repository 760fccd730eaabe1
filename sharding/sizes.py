"""How a model divides over devices, and the bytes each holds: arithmetic on `GemmaConfig`, without JAX."""

from math import prod

from sharding.config import GemmaConfig
from sharding.parameters import Parameter, adapter_parameters, parameters
from sharding.quantization import GROUP, SCALE_BYTES

_SPLIT = frozenset("NKFV")


def split_axes(config: GemmaConfig, devices: int) -> frozenset[str]:
    """Returns the letters of the axes that are split over the devices; see `sharding.partition`."""
    return _SPLIT - {"K"} if config.num_kv_heads % devices else _SPLIT


def heads_per_device(config: GemmaConfig, devices: int) -> tuple[int, int]:
    """Returns how many query heads and how many KV heads a device holds; see `sharding.partition`."""
    return config.num_heads // devices, max(config.num_kv_heads // devices, 1)


def num_parameters(config: GemmaConfig) -> int:
    """Returns how many numbers the model has."""
    return sum(prod(parameter.shape) for parameter in parameters(config).values())


def weight_bytes(config: GemmaConfig, devices: int, itemsize: int) -> int:
    """Returns the bytes of parameters on each of the devices, split as `sharding.partition` says.

    Args:
      config: of the model; what it quantises takes the bytes of its values and scales.
      devices: of the group.
      itemsize: bytes of a number that is not quantised.
    """
    split = split_axes(config, devices)
    return sum(parameter_bytes(parameter, itemsize, devices, split) for parameter in parameters(config).values())


def adapter_bytes(config: GemmaConfig, devices: int, itemsize: int, rank: int) -> int:
    """Returns the bytes that one adapter takes on each of the devices, of whatever rank up to `rank` it is."""
    split = split_axes(config, devices)
    return sum(parameter_bytes(each, itemsize, devices, split) for each in adapter_parameters(config, 1, rank).values())


def parameter_bytes(parameter: Parameter, itemsize: int, devices: int = 1, split: frozenset[str] = frozenset()) -> int:
    """Returns the bytes of a parameter on each of the devices over which the `split` axes are split."""

    def numbers(axes: str, shape: tuple[int, ...]) -> int:
        return prod(size // devices if axis in split else size for axis, size in zip(axes, shape, strict=True))

    if parameter.quantization is None:
        return numbers(parameter.axes, parameter.shape) * itemsize
    scales = numbers(parameter.scales_axes, parameter.scales_shape) * SCALE_BYTES
    return numbers(parameter.axes, parameter.shape) * parameter.quantization.bits // 8 + scales


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
    if config.quantization is not None and config.quantization.grouped:
        split["groups of MLP width"] = config.mlp_dim // GROUP
    reasons = [
        f"{name} {size} = {devices} x {size // devices} + {size % devices}"
        for name, size in split.items()
        if size % devices
    ]
    kv_heads = config.num_kv_heads
    if kv_heads % devices and devices % kv_heads:
        reasons.append(f"KV heads {kv_heads}: neither of {kv_heads} and {devices} is a multiple of the other")
    return reasons
