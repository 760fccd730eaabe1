"""HostedRunner.check: what a leader learns of hosts that live, die or are silent."""

import asyncio
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from serving.group.channel import HostFailed
from serving.group.hosted_runner import HostedRunner
from sharding.step import Limits

LIMITS = Limits(page_size=8, num_pages=8, max_rows=1, max_step_tokens=8, max_context=64)


class Hosts:
    """Stand for the actors: each ping is a future that the test answers, or not."""

    def __init__(self, count: int, timeout_s: float) -> None:
        self.pings: list[asyncio.Future[None]] = []
        host: Any = SimpleNamespace(ping=SimpleNamespace(remote=self._ping))
        no_channel: Any = None
        self.runner = HostedRunner(LIMITS, 0.01, [host] * count, no_channel, timeout_s, ExitStack())

    def _ping(self) -> asyncio.Future[None]:
        self.pings.append(asyncio.get_running_loop().create_future())
        return self.pings[-1]


async def checked(hosts: Hosts) -> asyncio.Task[None]:
    """A check that has asked every host."""
    check = asyncio.create_task(hosts.runner.check())
    await asyncio.sleep(0)
    return check


async def test_every_host_is_asked_each_time() -> None:
    hosts = Hosts(2, timeout_s=60)
    for asked in (2, 4):
        check = await checked(hosts)
        assert len(hosts.pings) == asked
        for ping in hosts.pings[-2:]:
            ping.set_result(None)
        await check


async def test_a_dead_host_is_told_as_ray_tells_it() -> None:
    hosts = Hosts(2, timeout_s=60)
    check = await checked(hosts)
    hosts.pings[1].set_exception(KeyError("as Ray raises it"))
    with pytest.raises(KeyError):
        await check


async def test_a_slow_host_delays_no_check_and_is_not_asked_again_before_it_answered() -> None:
    hosts = Hosts(2, timeout_s=60)
    await hosts.runner.check()
    check = await checked(hosts)
    assert len(hosts.pings) == 2
    for ping in hosts.pings:
        ping.set_result(None)
    await check
    next_check = await checked(hosts)
    assert len(hosts.pings) == 4
    for ping in hosts.pings[2:]:
        ping.set_result(None)
    await next_check


async def test_a_host_that_is_silent_for_too_long_has_failed() -> None:
    hosts = Hosts(2, timeout_s=0)
    with pytest.raises(HostFailed, match="no sign of life for 0 s"):
        await hosts.runner.check()
