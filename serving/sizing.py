"""What of a model fits a chip: refuses what does not, with the arithmetic, and sizes the KV cache by what is left.

A chip holds its share of the weights, a reserve for activations, compiled programs and the runtime, and KV pages.
Sizes are in bytes of a power of ten, as accelerators are sold: 1 GB is 10 ** 9 bytes.
"""

import os
from pathlib import Path

from serving.config import ModelConfig
from serving.topology import Topology
from sharding.config import GemmaConfig
from sharding.quantization import Quantization
from sharding.sizes import check_tensor_parallel, divides, kv_bytes_per_token, weight_bytes

V5E_BYTES = 16 * 10**9
"""Memory of a v5e chip: cloud.google.com/tpu/docs/v5e."""
RESERVE_BYTES = 10**9
"""Kept free on each accelerator: the largest step's activations and logits are a few hundred MB in 7B."""
CPU_SHARE = 0.25
"""Of a host's memory that one group takes on CPUs; other groups and Ray's object store want some too."""

_ITEMSIZE = {"float32": 4, "bfloat16": 2}
_CGROUP = Path("/sys/fs/cgroup")


def known_chip_bytes(topology: Topology) -> int | None:
    """Memory of a chip of this kind, None when it must be asked (GPUs differ) or belongs to the host."""
    return V5E_BYTES if topology.platform == "tpu" else None


def usable_bytes(topology: Topology, chip_bytes: int) -> int:
    """What weights and KV pages may take of a chip's memory; on a CPU, a device has its part of the host's share."""
    if topology.platform == "cpu":
        return int(chip_bytes * CPU_SHARE / topology.chips_per_host)
    return chip_bytes - RESERVE_BYTES


def host_bytes(cgroup: Path = _CGROUP) -> int:
    """Memory of this host, or what its container may take of it.

    Args:
      cgroup: where the kernel says what this container may have (kernel.org/doc, cgroup v2: `memory.max`).
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):  # no container, or `max`: one without a limit
        return whole


def check_model(model: ModelConfig, config: GemmaConfig) -> None:
    """Refuses a model that its topology cannot serve, as far as that is known before it runs.

    Raises:
      ValueError: the chips do not divide the model, it was trained for less context, it does not fit the chips, or they
        cannot multiply what it is quantised to.
    """
    try:
        config = config.quantised(model.quantize)
    except ValueError as error:
        raise ValueError(f"models.{model.id}.quantize: {error}") from None
    if config.quantization is Quantization.INT4 and model.topology.platform == "cpu":
        raise ValueError(
            f"models.{model.id}.quantize: int4 takes a CPU many times as long as int8. Use int8-weights, and the "
            "checkpoint that is not quantised."
        )
    try:
        check_tensor_parallel(config, model.topology.tensor_parallel)
    except ValueError as error:
        raise ValueError(f"models.{model.id}.topology: {error}") from None
    if model.limits.max_context > config.max_context:
        raise ValueError(
            f"models.{model.id}.limits.max_context={model.limits.max_context}, but the model was trained for "
            f"{config.max_context} positions. Lower it to that at most."
        )
    chip_bytes = known_chip_bytes(model.topology)
    if chip_bytes is not None:
        kv_tokens(model, config, chip_bytes)


def kv_tokens(model: ModelConfig, config: GemmaConfig, chip_bytes: int) -> int:
    """Returns how many tokens the KV cache holds: what is configured, or all that fits.

    Raises:
      ValueError: weights and KV cache do not fit.
    """
    config = config.quantised(model.quantize)
    left = _bytes_left(model, config, chip_bytes, model.topology.tensor_parallel)
    if left <= 0:
        raise ValueError(_weights_do_not_fit(model, config, chip_bytes))
    per_token = kv_bytes_per_token(config, model.topology.tensor_parallel, _ITEMSIZE[model.dtype])
    fitting = left // per_token
    wanted, field = model.limits.kv_tokens, "kv_tokens"
    if wanted is None:
        wanted, field = model.limits.max_context, "max_context"
    if fitting < wanted:
        raise ValueError(
            f"models.{model.id}.limits.{field}={wanted}: its KV cache takes {_gb(wanted * per_token)} on each chip "
            f"({per_token / 1024:g} KiB a token), but {_gb(left)} are left beside the weights: {fitting} tokens. "
            f"Lower {field} to that at most, or use more chips."
        )
    return fitting if model.limits.kv_tokens is None else wanted


def what_fits(model: ModelConfig, tokens: int) -> str:
    """`codegemma-7b-it bfloat16 on 2x2: 93k KV tokens, 11 full contexts`."""
    amount = f"{tokens // 1000}k" if tokens >= 10_000 else str(tokens)
    contexts = tokens // model.limits.max_context
    weights = model.quantize or model.dtype
    return f"{model.id} {weights} on {model.topology}: {amount} KV tokens, {contexts} full contexts"


def _bytes_left(model: ModelConfig, config: GemmaConfig, chip_bytes: int, devices: int) -> int:
    return usable_bytes(model.topology, chip_bytes) - weight_bytes(config, devices, _ITEMSIZE[model.dtype])


def _weights_do_not_fit(model: ModelConfig, config: GemmaConfig, chip_bytes: int) -> str:
    topology = model.topology
    weights = weight_bytes(config, 1, _ITEMSIZE[model.dtype])
    chips = topology.tensor_parallel
    kind = {"cpu": "CPU device", "gpu": "GPU", "tpu": "v5e chip"}[topology.platform]
    if topology.platform == "cpu":
        room = f"{_gb(usable_bytes(topology, chip_bytes))}, its part of {CPU_SHARE:.0%} of the host's memory"
        remedy = "use more hosts, or a host with more memory"
    else:
        room = f"{_gb(chip_bytes)}, {_gb(RESERVE_BYTES)} of it in reserve"
        enough = [
            n
            for n in (2, 4, 8, 16)
            if divides(config, n)
            and _bytes_left(model, config, chip_bytes, n) > 0
            and (topology.platform != "tpu" or n > 2)
        ]
        remedy = f"use tensor_parallel {enough[0]} or more" if enough else "use a smaller model"
    share = "" if chips == 1 else f" ({_gb(weight_bytes(config, chips, _ITEMSIZE[model.dtype]))} on each)"
    return (
        f"models.{model.id}: {_gb(weights)} of {config.quantization or model.dtype} weights do not fit "
        f"{'one' if chips == 1 else chips} {kind}{'s' if chips > 1 else ''} with {room}{share}: {remedy}."
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
