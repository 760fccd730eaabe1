"""Host: a Ray actor with the chips of one host of a replica group of several."""

import os
from typing import TYPE_CHECKING, NamedTuple

import ray
from ray.util import get_node_ip_address

from serving.config import ModelConfig
from serving.group.channel import Address, HostChannel
from serving.group.chips import check_chips
from serving.group.progress import Progress, report
from serving.servers.reserved_port import reserve_port
from sharding.step import Limits

if TYPE_CHECKING:
    from serving.group.host_adapters import HostAdapters
    from serving.group.local_runner import LocalRunner
    from serving.group.reading import Reading

ADAPTERS = "adapters"
"""The concurrency group of the calls that read adapters: one at a time, in order, whatever else the host does."""


class Loaded(NamedTuple):
    """A host that is ready to follow.

    Attributes:
      limits: what it was compiled for.
      step_limit_s: see `GroupRunner`.
      address: where the leader connects.
    """

    limits: Limits
    step_limit_s: float
    address: Address


class Host:
    """Loads its part of the model, then follows the leader's plans; every host runs the same steps.

    It needs a thread beside the one that follows, for `ping`: `max_concurrency=2`.
    """

    def __init__(self, model: ModelConfig, rank: int, token: bytes) -> None:
        """Starts the host with number `rank`; `token` is the group's, by which it will know its leader."""
        self._model = model
        self._rank = rank
        self._channel = HostChannel(get_node_ip_address(), token)
        self._coordinator = reserve_port((get_node_ip_address(), 0))
        self._runner: LocalRunner
        self._adapters: HostAdapters | None = None

    def coordinator(self) -> str:
        """An `ip:port` here, at which the hosts can meet; it is kept for that."""
        ip, port = self._coordinator.getsockname()
        return f"{ip}:{port}"

    def load(self, coordinator: str) -> Loaded:
        """Meets the other hosts, loads the model and compiles every step.

        Raises:
          CheckpointError: the checkpoint cannot be loaded; names tensor and file.
          ValueError: the configuration does not fit the checkpoint or the devices.
        """
        from serving.group.host_adapters import HostAdapters  # JAX: not where this class is only named
        from serving.group.loading import load_local_runner
        from sharding.mesh import join_hosts, use_devices

        topology = self._model.topology
        check_chips(topology, os.environ)
        use_devices(topology.platform, cpu_devices=topology.chips_per_host)
        join_hosts(coordinator, topology.hosts, self._rank)
        self._runner = load_local_runner(self._model, self._on_progress)
        if self._runner.adapters is not None:
            self._adapters = HostAdapters(self._runner.adapters)
        return Loaded(self._runner.limits, self._runner.step_limit_s, self._channel.address)

    def follow(self) -> None:
        """Runs the leader's steps until it breaks off."""
        load_adapter = self._adapters.load if self._adapters is not None else None
        self._channel.follow(self._runner, answers_tokens=self._rank == 0, load_adapter=load_adapter)

    @ray.method(concurrency_group=ADAPTERS)
    def read_adapter(self, read: int, name: str, version: str) -> "Reading":
        """As `HostAdapters.read`."""
        assert self._adapters is not None
        return self._adapters.read(read, name, version)

    @ray.method(concurrency_group=ADAPTERS)
    def forget_adapter(self, read: int) -> None:
        """As `HostAdapters.forget`."""
        assert self._adapters is not None
        self._adapters.forget(read)

    def ping(self) -> None:
        """Answers while the host lives, also during a step."""

    def _on_progress(self, phase: str, done: int, total: int) -> None:
        if self._rank == 0:  # the others are as far
            report(Progress(self._model.id, phase, done, total))
