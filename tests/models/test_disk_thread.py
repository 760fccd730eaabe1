"""DiskThread: calls that hang hold up their callers for so long, and nobody else."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from serving.models.disk_thread import DiskThread

TIMEOUT_S = 0.1
LONG_S = 30.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


async def test_a_call_runs_in_the_thread_and_what_it_raises_is_raised() -> None:
    disk = DiskThread("disk", LONG_S)
    ran: list[str] = []

    def fail() -> None:
        raise OSError(5, "Input/output error")

    await disk.run("a", lambda: ran.append(threading.current_thread().name))
    with pytest.raises(OSError, match="Input/output error"):
        await disk.run("b", fail)
    await disk.run("b", lambda: ran.append(threading.current_thread().name))
    assert ran == ["disk", "disk"]


async def test_who_asks_for_the_same_waits_for_one_call_also_when_the_first_of_them_goes(gate: threading.Event) -> None:
    disk = DiskThread("disk", LONG_S)
    ran: list[str] = []

    def call() -> None:
        assert gate.wait(LONG_S)
        ran.append("a")

    first, second = (asyncio.create_task(disk.run("a", call)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()
    await second
    assert ran == ["a"]
    assert first.cancelled()


async def test_behind_a_call_that_hangs_nobody_waits_and_all_is_well_once_it_ends(gate: threading.Event) -> None:
    disk = DiskThread("disk", TIMEOUT_S)
    with pytest.raises(TimeoutError):
        await disk.run("a", lambda: assert_opened(gate))
    queued: list[str] = []
    for number in range(100):  # is refused at once, and not kept
        with pytest.raises(TimeoutError):
            await disk.run(f"{number}", lambda: queued.append("b"))
    gate.set()
    while True:
        try:
            await disk.run("c", lambda: None)
            break
        except TimeoutError:
            await asyncio.sleep(0.01)
    assert not queued


def assert_opened(gate: threading.Event) -> None:
    assert gate.wait(LONG_S)
