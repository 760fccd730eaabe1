"""From a model's configuration to a runner that is ready to step."""

import logging
import os

from serving.config import ModelConfig
from serving.group.chips import check_chips
from serving.group.progress import OnProgress
from serving.group.runner import GroupRunner
from serving.models.chip_memory import what_fits
from sharding.step import Opening, Row

_log = logging.getLogger("ray.serve.replica_group")  # below Ray Serve's logger, whose handlers write the log


def load_runner(model: ModelConfig, on_progress: OnProgress) -> GroupRunner:
    """Load the weights over the group's devices, compile every step, and run a first one.

    One host is this process; several are actors of their own, and this process then needs no JAX.

    Raises:
      CheckpointError: the checkpoint cannot be loaded; names tensor and file.
      ValueError: the configuration does not fit the checkpoint or the devices.
    """
    if model.topology.hosts == 1:
        from serving.group.loading import load_model  # JAX
        from sharding.mesh import use_devices

        check_chips(model.topology, os.environ)
        use_devices(model.topology.platform, cpu_devices=model.topology.chips_per_host)
        runner: GroupRunner = load_model(model, on_progress)
    else:
        from serving.group.hosted_runner import HostedRunner

        runner = HostedRunner.start(model)
    _log.info(what_fits(model, runner.limits.num_pages * runner.limits.page_size))
    runner.launch([Row(slot=0, start=0, token_ids=(0,), draws=1, pages=(0,), opening=Opening())])  # warms up
    runner.land()
    return runner
