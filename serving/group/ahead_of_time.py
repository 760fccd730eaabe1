"""Models' steps compiled on a machine without their accelerators, for groups to start without compiling."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax

from serving.config import ModelConfig
from serving.group.loading import runner_limits
from serving.models.checkpoint_path import checkpoint_path
from serving.models.chip_memory import as_served, check_model, host_bytes, known_chip_bytes
from serving.models.topology import Topology
from sharding.absent_devices import tpu_v5e_devices
from sharding.checkpoint import read_config
from sharding.config import GemmaConfig
from sharding.executables import ExecutableWriter
from sharding.mesh import make_mesh, use_devices
from sharding.steps import compile_steps, why_unfit


def compile_ahead(
    models: Sequence[ModelConfig],
    files: Mapping[str, Path],
    on_progress: Callable[[ModelConfig, int, int | None], None] = lambda model, done, total: None,
    on_found: Callable[[ModelConfig, str | None], None] | None = None,
) -> None:
    """Compiles every step that groups of the models run.

    For CPUs these are steps for this machine's processor; for TPUs, any machine with libtpu will do. Weights are not
    needed. Everything is checked before anything is compiled.

    Args:
      models: say their checkpoints, limits and accelerators.
      files: the file to write for each model, by its id; directories are made if need be.
      on_progress: called as `on_progress(model, done, total)`, in programs; `total` is None when a model begins.
      on_found: if given, files that are there and that groups take are left alone. Called as `on_found(model, why)` of
        each that is there; `why` says why groups would not take it, and is None if they do.

    Raises:
      CheckpointError: a model's shape cannot be read.
      ValueError: the configuration does not fit a model or its accelerators, or cannot be compiled for here.
      UntrustedFileError: others could have written the key that the files would be signed with.
      OSError: a file cannot be read or written.
    """
    shapes = [_checked(model) for model in models]
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    on_cpus = [model.topology.chips_per_host for model in models if model.topology.platform == "cpu"]
    use_devices("cpu", cpu_devices=max(on_cpus, default=1))
    for model, config in zip(models, shapes, strict=True):
        mesh = make_mesh(model.topology.tensor_parallel, _devices(model.topology))
        limits = runner_limits(model, config, known_chip_bytes(model.topology) or host_bytes())
        if on_found is not None and files[model.id].exists():
            why = why_unfit(files[model.id], config, mesh, model.dtype, limits)
            on_found(model, why)
            if why is None:
                continue
        on_progress(model, 0, None)
        try:
            compile_steps(
                config,
                mesh,
                model.dtype,
                limits,
                store=ExecutableWriter(files[model.id]),
                on_progress=lambda done, total, model=model: on_progress(model, done, total),  # type: ignore[misc]
            )
        except jax.errors.JaxRuntimeError as error:  # such as for want of a chip's memory
            raise ValueError(f"models.{model.id} on {model.topology} does not compile: {error}") from error


def _checked(model: ModelConfig) -> GemmaConfig:
    topology = model.topology
    if topology.platform == "gpu":
        raise ValueError(f"models.{model.id}.topology: steps for GPUs are compiled by groups, where the GPUs are.")
    if topology.platform == "cpu" and topology.hosts > 1:
        raise ValueError(
            f"models.{model.id}.topology.hosts={topology.hosts}: on CPUs, groups of several hosts compile together."
        )
    config = read_config(checkpoint_path(model.checkpoint))
    check_model(model, config)
    runner_limits(model, config, known_chip_bytes(topology) or host_bytes())
    return as_served(model, config)


def _devices(topology: Topology) -> Sequence[jax.Device]:
    if topology.slice_shape is None:
        return jax.devices()
    try:
        return tpu_v5e_devices(topology.slice_shape, topology.hosts)
    except RuntimeError as error:
        raise ValueError(f"To compile for TPUs takes libtpu: install codegemma-serving[tpu]. ({error})") from error
