"""GroupRunner: what a leader needs of its hosts, be they this process or others; and how one is loaded."""

import logging
import os
from typing import Protocol

from serving.config import ModelConfig
from serving.engine.adapters import AdapterSource
from serving.engine.runner import Runner
from serving.group.chips import check_chips
from serving.group.progress import OnProgress
from serving.models.chip_memory import what_fits
from sharding.step import Opening, Row

_log = logging.getLogger("ray.serve.replica_group")  # below Ray Serve's logger, whose handlers write the log


class GroupAdapterSource(AdapterSource, Protocol):
    """An engine's `AdapterSource` over an `AdapterDirectory` of this process."""

    @property
    def age_s(self) -> float:
        """As `AdapterDirectory.age_s`."""
        ...

    async def look(self, name: str) -> str:
        """As `AdapterDirectory.look`."""
        ...


class GroupRunner(Runner, Protocol):
    """An engine's `Runner` with the life of a group's hosts."""

    @property
    def adapters(self) -> GroupAdapterSource | None:
        """Where the adapters of its model come from; None if it has none."""
        ...

    @property
    def recompilations(self) -> int:
        """Compilations since the runner was ready; anything but 0 is a bug."""
        ...

    @property
    def step_limit_s(self) -> float:
        """How long the slowest device takes to read its part of the weights, at the bandwidth measured at start.

        A step reads all of them; how much longer it takes tells how well the devices' memory is used.
        """
        ...

    async def check(self) -> None:
        """Ends within seconds. Raises what is wrong with a host; when it is dead, what Ray raises, for Ray Serve."""
        ...

    def close(self) -> None:
        """Ends the hosts and gives back what was reserved for them."""
        ...


def load_runner(model: ModelConfig, on_progress: OnProgress) -> GroupRunner:
    """Load the weights over the group's devices, compile every step, and run a first one.

    One host is this process; several are actors of their own, and this process then needs no JAX.

    Raises:
      CheckpointError: the checkpoint cannot be loaded; names tensor and file.
      ValueError: the configuration does not fit the checkpoint or the devices.
    """
    if model.topology.hosts == 1:
        from serving.group.loading import load_local_runner  # JAX
        from sharding.mesh import use_devices

        check_chips(model.topology, os.environ)
        use_devices(model.topology.platform, cpu_devices=model.topology.chips_per_host)
        runner: GroupRunner = load_local_runner(model, on_progress)
    else:
        from serving.group.hosted_runner import HostedRunner

        runner = HostedRunner.start(model)
    _log.info(what_fits(model, runner.limits.num_pages * runner.limits.page_size))
    runner.launch([Row(slot=0, start=0, token_ids=(0,), draws=1, pages=(0,), opening=Opening())])  # warms up
    runner.land()
    return runner
