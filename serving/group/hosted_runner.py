"""HostedRunner: the engine's `Runner` on several hosts, each an actor with its own chips."""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from typing import cast

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.util.placement_group import PlacementGroup, get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from serving.config import ModelConfig
from serving.engine.request import Token
from serving.engine.runner import RunnerLimits, StepRow
from serving.group.channel import TOKEN_BYTES, LeaderChannel
from serving.group.host import Host
from serving.group.slice import reserved_slice


class HostedRunner:
    """Sends each step to every host. Ray starts and ends the hosts, and has no part in a step.

    The hosts are this process's own: they end when it does, however it does.
    """

    def __init__(
        self, limits: RunnerLimits, hosts: list[ActorHandle[Host]], channel: LeaderChannel, stack: ExitStack
    ) -> None:
        """`start` makes one; `stack` undoes what it did."""
        self._limits = limits
        self._hosts = hosts
        self._channel = channel
        self._stack = stack

    @classmethod
    def start(cls, model: ModelConfig) -> "HostedRunner":
        """Starts the hosts where Ray reserved their chips, and returns when all have compiled every step.

        Raises:
          RayTaskError: of a host; also an instance of what it raised, such as CheckpointError or ValueError.
          RayActorError: a host died.
          TimeoutError: no TPU slice is free.
          HostFailed: a host cannot be reached.
        """
        topology = model.topology
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
            channel = LeaderChannel([address for _, address in loaded], token, model.step_timeout_s)
            stack.callback(channel.close)
            return cls(loaded[0][0], hosts, channel, stack.pop_all())

    @property
    def limits(self) -> RunnerLimits:
        return self._limits

    @property
    def recompilations(self) -> int:
        return self._channel.recompilations

    def step(self, rows: Sequence[StepRow]) -> list[Token | None]:
        """Runs one step: a token for each row with `sampling`, None for the others.

        Raises:
          HostFailed: a host failed, or did not answer in time.
        """
        return self._channel.step(rows)

    async def check(self) -> None:
        """Asks every host for a sign of life.

        Raises:
          ActorDiedError: a host is dead. Not wrapped: Ray Serve then replaces the group at once.
        """
        await asyncio.gather(*(host.ping.remote() for host in self._hosts))

    def close(self) -> None:
        """Ends the hosts and gives the slice back."""
        self._stack.close()


def _start_host(model: ModelConfig, rank: int, token: bytes, group: PlacementGroup, bundle: int) -> ActorHandle[Host]:
    """Starts a host in a bundle, all of whose chips it takes."""
    resources = model.topology.host_resources
    actor = ray.remote(Host).options(
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
