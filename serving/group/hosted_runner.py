"""HostedRunner: the engine's `Runner` on several hosts, each an actor with its own chips."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError
from ray.util.placement_group import PlacementGroup, get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from serving.config import ModelConfig
from serving.group.channel import TOKEN_BYTES, HostFailed, LeaderChannel
from serving.group.host import ADAPTERS, Host
from serving.group.runner import GroupAdapterSource
from serving.group.slice import reserved_slice
from sharding.step import Limits, Row, Token

if TYPE_CHECKING:
    from serving.group.reading import Reading

_SIGN_OF_LIFE_S = 1.0
"""How long one call of `check` waits; what its caller checks next must not wait for a host that hangs."""


class HostedRunner:
    """Sends each step to every host. Ray starts and ends the hosts, and has no part in a step.

    The hosts are this process's own: they end when it does, however it does.

    Attributes:
      adapters: see `GroupRunner`.
    """

    adapters: GroupAdapterSource | None = None

    def __init__(
        self,
        limits: Limits,
        step_limit_s: float,
        hosts: list[ActorHandle[Host]],
        channel: LeaderChannel,
        timeout_s: float,
        stack: ExitStack,
    ) -> None:
        """`start` makes one; `stack` undoes what it did."""
        self.step_limit_s = step_limit_s
        self._limits = limits
        self._hosts = hosts
        self._channel = channel
        self._timeout_s = timeout_s
        self._stack = stack
        self._asked: asyncio.Future[list[None]] | None = None
        self._asked_at = 0.0

    @classmethod
    def start(cls, model: ModelConfig) -> "HostedRunner":
        """Starts the hosts where Ray reserved their chips, and returns when all have compiled every step.

        Raises:
          RayTaskError: of a host; also an instance of what it raised, such as CheckpointError or ValueError.
          RayActorError: a host died.
          TimeoutError: no TPU slice is free.
          HostFailed: a host cannot be reached.
          ValueError: the directory of adapters cannot be read here.
        """
        topology = model.topology
        directory = None
        if model.adapters is not None:  # whose forms take 0.3 s to import
            from serving.group.hosted_adapters import HostedAdapters
            from serving.models.adapter_directory import adapter_directory

            directory = adapter_directory(model)
        token = secrets.token_bytes(TOKEN_BYTES)
        with ExitStack() as stack:
            if topology.reserves_slice:
                group, first_bundle = stack.enter_context(reserved_slice(topology)), 0
            else:
                group, first_bundle = _placement_group_of_replica(), 1
            hosts: list[ActorHandle[Host]] = []
            for rank in range(topology.hosts):
                hosts.append(_start_host(model, rank, token, group, first_bundle + rank))
                stack.callback(ray.kill, hosts[-1])
            coordinator: str = _all([hosts[0].coordinator.remote()])[0]
            loaded = _all([host.load.remote(coordinator) for host in hosts])
            for host in hosts:
                host.follow.remote()
            channel = LeaderChannel([host.address for host in loaded], token, model.step_timeout_s)
            stack.callback(channel.close)
            step_limit_s = max(host.step_limit_s for host in loaded)
            runner = cls(loaded[0].limits, step_limit_s, hosts, channel, model.step_timeout_s, stack.pop_all())
            if directory is not None:
                readers = _Readers(hosts, model.step_timeout_s)
                runner.adapters = HostedAdapters(directory, readers, channel.load_adapter)
            return runner

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def recompilations(self) -> int:
        return self._channel.recompilations

    def launch(self, rows: Sequence[Row]) -> None:
        """Starts a step on every host behind those launched before.

        Raises:
          HostFailed: a host failed.
        """
        self._channel.launch(rows)

    def land(self) -> list[list[Token]]:
        """Waits for the oldest step: each row's targets, then the tokens that it drew.

        Raises:
          HostFailed: a host failed, or did not answer in time.
        """
        return self._channel.land()

    async def check(self) -> None:
        """Pings every host; waits for a second at most, and goes on waiting in the next call.

        Raises:
          ActorDiedError: a host is dead. Not wrapped: Ray Serve then replaces the group at once.
          HostFailed: a host gives none for as long as a step may take.
        """
        if self._asked is None:
            self._asked = asyncio.gather(*(host.ping.remote() for host in self._hosts))
            self._asked_at = time.monotonic()
        asked = self._asked
        answered, _ = await asyncio.wait([asked], timeout=_SIGN_OF_LIFE_S)
        if answered:
            if self._asked is asked:  # of calls that overlap, each may be the first to get here
                self._asked = None
            asked.result()
        elif time.monotonic() - self._asked_at > self._timeout_s:
            raise HostFailed(f"a host gives no sign of life for {self._timeout_s:g} s")

    def close(self) -> None:
        """Ends the hosts and gives the slice back."""
        self._stack.close()


class _Readers:
    """The hosts, as `HostReaders`: by calls of Ray's, as an adapter is read once and beside the steps."""

    def __init__(self, hosts: Sequence[ActorHandle[Host]], timeout_s: float) -> None:
        self._hosts = hosts
        self._timeout_s = timeout_s

    def read(self, read: int, name: str, version: str) -> "list[Reading]":
        answers = [host.read_adapter.remote(read, name, version) for host in self._hosts]
        try:
            return ray.get(answers, timeout=self._timeout_s)
        except GetTimeoutError:
            raise TimeoutError(
                f"a host has not read it within step_timeout_s={self._timeout_s:g}. Raise that, or look at its disk."
            ) from None

    def forget(self, read: int) -> None:
        for host in self._hosts:
            host.forget_adapter.remote(read)


def _start_host(model: ModelConfig, rank: int, token: bytes, group: PlacementGroup, bundle: int) -> ActorHandle[Host]:
    """Starts a host in a bundle, all of whose chips it takes."""
    resources = model.topology.host_resources
    groups = {ADAPTERS: 1}
    actor = ray.remote(concurrency_groups=groups)(Host).options(  # type: ignore[call-overload]  # not in Ray's types
        num_cpus=0,
        num_gpus=resources.pop("GPU", 0),
        resources=resources,
        max_concurrency=2,
        scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle),
    )
    return cast(ActorHandle[Host], actor.remote(model, rank, token))


def _placement_group_of_replica() -> PlacementGroup:
    group = get_current_placement_group()
    assert group is not None, "`Topology.deployment_options` gives every replica with several hosts one"
    return group


def _all[T](results: Sequence[ObjectRef[T]]) -> list[T]:
    """Waits for all, or for the first that failed: the others may wait for that one for ever."""
    pending = list(results)
    while pending:
        done, pending = ray.wait(pending)
        ray.get(done)
    return ray.get(list(results))
