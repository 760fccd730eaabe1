"""From a model's configuration to a runner that is ready to step."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from serving.cache_dir import cache_dir
from serving.checkpoint_path import checkpoint_path
from serving.config import ModelConfig
from serving.engine.runner import RunnerLimits
from serving.group.local_runner import LocalRunner
from sharding.checkpoint import load, open_checkpoint
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.steps import compile_steps, use_compilation_cache

OnProgress = Callable[[str, int, int], None]
"""Told the phase, and how much of it is done of how much."""

_MIB = 1 << 20


def load_runner(model: ModelConfig, on_progress: OnProgress) -> LocalRunner:
    """Load the weights over the group's devices and compile every step.

    Raises:
      CheckpointError: the checkpoint cannot be loaded; names tensor and file.
      ValueError: the configuration does not fit the checkpoint or the devices.
    """
    on_progress("opening the checkpoint", 0, 1)
    checkpoint = open_checkpoint(checkpoint_path(model.checkpoint))
    limits = model.limits
    if limits.max_context > checkpoint.config.max_context:
        raise ValueError(
            f"models.{model.id}.limits.max_context={limits.max_context}, but the model was trained for "
            f"{checkpoint.config.max_context} positions. Lower it to that at most."
        )
    mesh = make_mesh(model.tensor_parallel)
    use_compilation_cache(cache_dir("compiled"))
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
            RunnerLimits(
                page_size=limits.page_size,
                num_pages=limits.kv_tokens // limits.page_size,
                max_rows=limits.max_rows,
                max_step_tokens=limits.max_step_tokens,
                max_context=limits.max_context,
            ),
            on_progress=lambda done, total: on_progress("compiling steps", done, total),
        )
    return LocalRunner(ModelRunner(loading.result(), steps))
