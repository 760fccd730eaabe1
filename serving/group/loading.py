"""From a model's configuration to a runner on the devices of this host, or of all hosts together."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax

from serving.config import ModelConfig
from serving.group.adapters import GroupAdapters
from serving.group.local_runner import LocalRunner
from serving.group.progress import OnProgress
from serving.models.adapter_directory import adapter_directory
from serving.models.checkpoint_path import checkpoint_path
from serving.models.chip_memory import as_served, check_model, host_bytes, known_chip_bytes, kv_tokens
from serving.models.topology import Topology
from sharding.bandwidth import memory_bandwidth
from sharding.cache_dir import cache_path
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.loader import load
from sharding.config import GemmaConfig
from sharding.executables import LocalStore
from sharding.freed_memory import give_back_freed_memory
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh, smallest_over_hosts
from sharding.step import Limits
from sharding.steps import compile_steps

_MIB = 1 << 20
_PROBE_BYTES = {"cpu": 1 << 27, "gpu": 1 << 30, "tpu": 1 << 30}
"""What a device goes through to show its bandwidth: on an accelerator so much that starting takes no part of it."""


def load_local_runner(model: ModelConfig, on_progress: OnProgress) -> LocalRunner:
    """Load the weights over the group's devices and compile every step; each host reads its own part.

    Raises:
      CheckpointError: the checkpoint cannot be loaded; names tensor and file.
      ValueError: the configuration does not fit the checkpoint or the devices.
    """
    on_progress("opening the checkpoint", 0, 1)
    checkpoint = open_checkpoint(checkpoint_path(model.checkpoint))
    checkpoint = replace(checkpoint, config=as_served(model, checkpoint.config))
    check_model(model, checkpoint.config)
    mesh = make_mesh(model.topology.tensor_parallel)
    bandwidth = memory_bandwidth(
        jax.local_devices(), _PROBE_BYTES[model.topology.platform]
    )  # memory is free for it yet
    limits = runner_limits(model, checkpoint.config, _chip_bytes(model.topology))
    with ThreadPoolExecutor(1) as pool:  # reading decodes outside the interpreter, so compiling goes on beside it
        loading = pool.submit(
            load,
            checkpoint,
            abstract_parameters(checkpoint.config, mesh, model.dtype),
            lambda _, done, total: on_progress("reading weights (MiB)", done // _MIB, total // _MIB),
        )
        steps = compile_steps(
            checkpoint.config,
            mesh,
            model.dtype,
            limits,
            store=LocalStore(cache_path("executables"), model.executables),
            on_progress=lambda done, total: on_progress("compiling steps", done, total),
        )
    parameters = loading.result()
    give_back_freed_memory()
    on_each_device = sum(array.addressable_shards[0].data.nbytes for array in jax.tree.leaves(parameters))
    runner = LocalRunner(parameters, steps, on_each_device / bandwidth)
    if (directory := adapter_directory(model)) is not None:
        runner.adapters = GroupAdapters(directory, checkpoint.config, runner)
    return runner


def runner_limits(model: ModelConfig, config: GemmaConfig, chip_bytes: int) -> Limits:
    """The sizes to compile a model for, on chips with so much memory; `chip_bytes` is that of a host, for CPUs.

    Raises:
      ValueError: it does not fit.
    """
    limits = model.limits
    return Limits(
        page_size=limits.page_size,
        num_pages=kv_tokens(model, config, chip_bytes) // limits.page_size,
        max_rows=limits.max_rows,
        max_step_tokens=limits.max_step_tokens,
        max_context=limits.max_context,
        adapters=0 if model.adapters is None else model.adapters.max_loaded,
        adapter_rank=0 if model.adapters is None else model.adapters.max_rank,
    )


def _chip_bytes(topology: Topology) -> int:
    """Memory of a chip; of a host, for CPUs. All hosts must come to the same size of cache."""
    known = known_chip_bytes(topology)
    if known is not None:
        return known
    if topology.platform == "cpu":
        return smallest_over_hosts(host_bytes())
    return smallest_over_hosts(min(int(device.memory_stats()["bytes_limit"]) for device in jax.local_devices()))
