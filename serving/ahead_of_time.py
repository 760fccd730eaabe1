"""A model's steps compiled on a machine without its accelerators, for groups to start without compiling."""

from collections.abc import Callable
from pathlib import Path

import jax

from serving.checkpoint_path import checkpoint_path
from serving.config import ModelConfig
from serving.group.loading import runner_limits
from serving.sizing import check_model, host_bytes, known_chip_bytes
from sharding.checkpoint import read_config
from sharding.executables import ExecutableWriter
from sharding.mesh import make_mesh, use_devices
from sharding.steps import compile_steps


def compile_ahead(
    model: ModelConfig, target: Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Compiles every step that a group of the model runs, and writes them to a file.

    On the CPU, for this machine's processor; for TPUs, on any machine with libtpu. The weights are not needed.

    Args:
      model: says the checkpoint, the limits and the accelerators.
      target: the file to write, in a directory that is there.
      on_progress: called as `on_progress(done, total)`, in programs.

    Raises:
      CheckpointError: the model's config cannot be read.
      ValueError: the configuration does not fit the model or its accelerators, or cannot be compiled for here.
      UntrustedFileError: others could have written the key that the file would be signed with.
      OSError: the file cannot be written.
    """
    config = read_config(checkpoint_path(model.checkpoint))
    check_model(model, config)
    devices = _devices(model)
    chip_bytes = known_chip_bytes(model.topology) or host_bytes()
    compile_steps(
        config,
        make_mesh(model.topology.tensor_parallel, devices),
        model.dtype,
        runner_limits(model, config, chip_bytes),
        store=ExecutableWriter(target),
        on_progress=on_progress,
    )


def _devices(model: ModelConfig) -> list[jax.Device]:
    topology = model.topology
    if topology.platform == "gpu":
        raise ValueError(
            f"models.{model.id}.topology: steps for GPUs are compiled where the GPUs are, at the first start."
        )
    use_devices("cpu", cpu_devices=topology.chips_per_host if topology.platform == "cpu" else 1)
    if topology.slice_shape is not None:
        return _tpu_devices(model.id, topology.slice_shape, topology.hosts)
    if topology.hosts > 1:
        raise ValueError(
            f"models.{model.id}.topology.hosts={topology.hosts}: on CPUs only groups of one host are compiled."
        )
    return jax.devices()


def _tpu_devices(model_id: str, slice_shape: str, hosts: int) -> list[jax.Device]:
    from sharding.absent_devices import tpu_v5e_devices

    try:
        return list(tpu_v5e_devices(slice_shape, hosts))
    except RuntimeError as error:
        raise ValueError(
            f"models.{model_id}: to compile for a TPU takes libtpu ({error}). Install codegemma-serving[tpu] here."
        ) from error
