"""What of a model fits a chip: refuses what does not, with the arithmetic, and sizes the KV cache by what is left.

A chip holds its share of the weights and of adapters, KV pages, and a reserve: for what a step computes, compiled
programs and the runtime. `make tpu-check` compares the reserve with what the TPU's compiler asks for. 1 GB is 10 ** 9
bytes.
"""

import os
from dataclasses import replace
from pathlib import Path

from serving.config import ModelConfig
from serving.models.topology import Topology
from sharding.config import NOT_QUANTISED, GemmaConfig
from sharding.quantization import Quantization
from sharding.sizes import adapter_bytes, check_tensor_parallel, divides, kv_bytes_per_token, weight_bytes
from sharding.step import SLOTS_PER_ROW

V5E_BYTES = 63 << 28
"""What programs can have of a v5e chip's 16 GiB: 15.75 GiB, the limit of its compiler (E1000 in libtpu)."""
RUNTIME_BYTES = {"tpu": 600 * 10**6, "gpu": 900 * 10**6}
"""For compiled programs (on v5e 8 of up to 30 MB each) and the runtime, by platform. The latter is an assumption."""
PAGE_TABLE_BYTES = 1 << 19
"""The page table of a step on v5e: half of the 1 MiB of SMEM, which the kernels' schedules share."""
CPU_SHARE = 0.25
"""Of a host's memory that one group takes on CPUs; other groups and Ray's object store want some too."""

_ITEMSIZE = {"float32": 4, "bfloat16": 2}
_CGROUP = Path("/sys/fs/cgroup")


def known_chip_bytes(topology: Topology) -> int | None:
    """Memory of a chip of this kind, None when it must be asked (GPUs differ) or belongs to the host."""
    return V5E_BYTES if topology.platform == "tpu" else None


def reserve_bytes(model: ModelConfig, config: GemmaConfig, devices: int) -> int:
    """What is kept free on each of the accelerators: for the largest step, and `RUNTIME_BYTES`."""
    return RUNTIME_BYTES[model.topology.platform] + step_bytes(model, config, devices)


def step_bytes(model: ModelConfig, config: GemmaConfig, devices: int) -> int:
    """What a step computes or keeps beside the KV cache, at most: activations of two layers, logits, and tokens.

    A layer has two arrays of its MLP's width and four of its input's at a time; the compiler begins one layer before it
    has finished the other. Logits are there three times: of two steps, and in a sampler. Each slot has its
    sequence's tokens (`sharding.kept`). Weights in groups are decoded in float32, gate and up at a time.
    """
    limits = model.limits
    is_grouped = config.quantization is not None and config.quantization.grouped
    decoded = 2 * config.mlp_dim * config.embed_dim // devices * _ITEMSIZE["float32"] if is_grouped else 0
    activations = 2 * (2 * config.mlp_dim // devices + 4 * config.embed_dim)
    logits = 3 * limits.max_rows * config.vocab_size // devices * _ITEMSIZE["float32"]
    tokens = SLOTS_PER_ROW * limits.max_rows * limits.max_context * 4
    return limits.max_step_tokens * activations * _ITEMSIZE[model.dtype] + logits + tokens + decoded


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


def as_served(model: ModelConfig, config: GemmaConfig) -> GemmaConfig:
    """The shape of a model with its weights quantised as configured, or as they are stored.

    CPUs take 6 to 10 times as long for weights of 4 bits as for the same numbers in 8, in which they are held there.
    Accelerators write weights of 8 bits in groups decoded to memory, in each step and a gigabyte for the head, so there
    they get a scale for each output; and so does the head, of whatever bits its groups are, as beside `int4`.
    """
    projections, embedding = config.quantization, config.embedding_quantization
    if model.topology.platform == "cpu":
        if model.quantize is None and Quantization.INT4 in (projections, embedding):
            return config.quantised(Quantization.INT8_GROUPS)
    else:
        if projections is Quantization.INT8_GROUPS:
            projections = Quantization.INT8_WEIGHTS
        if embedding is not None and embedding.grouped:
            embedding = Quantization.INT8_WEIGHTS
        config = replace(config, quantization=projections, embedding_quantization=embedding)
    return config.quantised(model.quantize)


def check_model(model: ModelConfig, config: GemmaConfig) -> None:
    """Refuses a model that its topology cannot serve, as far as that is known before it runs.

    Raises:
      ValueError: the chips do not divide the model, it was trained for less context, it does not fit the chips, or they
        cannot multiply what it is quantised to.
    """
    config = as_served(model, config)
    if config.quantization is Quantization.INT4 and model.topology.platform == "cpu":
        raise ValueError(f"models.{model.id}.quantize: int4 takes a CPU many times as long as int8. Use int8-weights.")
    if config.quantization is Quantization.INT8_GROUPS and model.topology.platform != "cpu":
        raise ValueError(
            f"models.{model.id}.quantize: int8-groups has a {model.topology.platform.upper()} decode its weights to "
            "memory in each step. Use int8-weights."
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
    if model.topology.platform == "tpu":
        _check_page_table(model)
    chip_bytes = known_chip_bytes(model.topology)
    if chip_bytes is not None:
        kv_tokens(model, config, chip_bytes)


def _check_page_table(model: ModelConfig) -> None:
    limits = model.limits
    pages = -(-limits.max_context // limits.page_size)
    rows = PAGE_TABLE_BYTES // (4 * pages)
    if rows < limits.max_rows:
        raise ValueError(
            f"models.{model.id}.limits.max_rows={limits.max_rows}: with max_context={limits.max_context} in pages of "
            f"page_size={limits.page_size}, their page table is {limits.max_rows} x {pages} x 4 bytes = "
            f"{4 * limits.max_rows * pages / 1024:g} KiB, but a v5e chip has {PAGE_TABLE_BYTES // 1024} KiB for it. "
            f"Lower max_rows to {rows}, or raise page_size."
        )


def kv_tokens(model: ModelConfig, config: GemmaConfig, chip_bytes: int) -> int:
    """Returns how many tokens the KV cache holds: what is configured, or all that fits.

    Raises:
      ValueError: weights and KV cache do not fit.
    """
    config = as_served(model, config)
    left = _bytes_left(model, config, chip_bytes, model.topology.tensor_parallel)
    if left <= 0:
        raise ValueError(_weights_do_not_fit(model, config, chip_bytes))
    per_token = kv_bytes_per_token(config, model.topology.tensor_parallel, _ITEMSIZE[model.dtype])
    fitting = left // per_token
    wanted, field = model.limits.kv_tokens, "kv_tokens"
    if wanted is None:
        wanted, field = model.limits.max_context, "max_context"
    if fitting < wanted:
        beside = "the weights" if model.adapters is None else f"the weights and adapters ({model.adapters.max_loaded})"
        raise ValueError(
            f"models.{model.id}.limits.{field}={wanted}: its KV cache takes {_gb(wanted * per_token)} on each chip "
            f"({per_token / 1024:g} KiB a token), but {_gb(left)} are left beside {beside}: {fitting} tokens. "
            f"Lower {field} to that at most, or use more chips."
        )
    return fitting if model.limits.kv_tokens is None else wanted


def what_fits(model: ModelConfig, tokens: int) -> str:
    """`codegemma-7b-it bfloat16 on 2x2: 93k KV tokens, 11 full contexts`."""
    amount = f"{tokens // 1000}k" if tokens >= 10_000 else str(tokens)
    contexts = tokens // model.limits.max_context
    weights = model.quantize if model.quantize not in (None, NOT_QUANTISED) else model.dtype
    return f"{model.id} {weights} on {model.topology}: {amount} KV tokens, {contexts} full contexts"


def _bytes_left(model: ModelConfig, config: GemmaConfig, chip_bytes: int, devices: int) -> int:
    if model.topology.platform == "cpu":
        usable = _cpu_share(model.topology, chip_bytes)
    else:
        usable = chip_bytes - reserve_bytes(model, config, devices)
    return usable - weight_bytes(config, devices, _ITEMSIZE[model.dtype]) - _adapters_bytes(model, config, devices)


def _adapters_bytes(model: ModelConfig, config: GemmaConfig, devices: int) -> int:
    """Of all that may be loaded on each device, and of one that is on its way to its place."""
    if model.adapters is None:
        return 0
    each = adapter_bytes(config, devices, _ITEMSIZE[model.dtype], model.adapters.max_rank)
    return (model.adapters.max_loaded + 1) * each


def _cpu_share(topology: Topology, host_bytes: int) -> int:
    """What weights and KV pages may take of a host's memory on one of its CPU devices."""
    return int(host_bytes * CPU_SHARE / topology.chips_per_host)


def _weights_do_not_fit(model: ModelConfig, config: GemmaConfig, chip_bytes: int) -> str:
    topology = model.topology
    weights = weight_bytes(config, 1, _ITEMSIZE[model.dtype])
    chips = topology.tensor_parallel
    kind = {"cpu": "CPU device", "gpu": "GPU", "tpu": "v5e chip"}[topology.platform]
    if topology.platform == "cpu":
        room = f"{_gb(_cpu_share(topology, chip_bytes))}, its part of {CPU_SHARE:.0%} of the host's memory"
        remedy = "use more hosts, or a host with more memory"
    else:
        room = f"{_gb(chip_bytes)}, {_gb(reserve_bytes(model, config, chips))} of it in reserve"
        enough = [
            n
            for n in (2, 4, 8, 16)
            if divides(config, n)
            and _bytes_left(model, config, chip_bytes, n) > 0
            and (topology.platform != "tpu" or n > 2)
        ]
        remedy = f"use tensor_parallel {enough[0]} or more" if enough else "use a smaller model"
    share = "" if chips == 1 else f" ({_gb(weight_bytes(config, chips, _ITEMSIZE[model.dtype]))} on each)"
    adapters = "" if model.adapters is None else f" and {_gb(_adapters_bytes(model, config, 1))} of adapters"
    return (
        f"models.{model.id}: {_gb(weights)} of {config.quantization or model.dtype} weights{adapters} do not fit "
        f"{'one' if chips == 1 else chips} {kind}{'s' if chips > 1 else ''} with {room}{share}: {remedy}."
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
