"""What counts as a stall of an event loop: work of this process, and not that its thread had no processor."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.telemetry.loop_watch import STALL_S, Clocks, LoopWatch, work_between
from serving.telemetry.metrics import LOOP_STALL_SECONDS
from tests.telemetry.memory_recorder import MemoryRecorder

_WORK_S = 0.2
_TICKS_S = 0.02
_PASSED = st.floats(0, 100)


@given(wall=_PASSED, process=_PASSED, queued=_PASSED, due_s=_PASSED)
def test_a_stall_is_no_longer_than_it_was_late_and_than_the_process_worked(
    wall: float, process: float, queued: float, due_s: float
) -> None:
    stall = work_between(Clocks(1.0, 2.0, 3.0), Clocks(1.0 + wall, 2.0 + process, 3.0 + queued), due_s)
    assert 0 <= stall <= max(0.0, wall - queued - due_s) + 1e-9
    assert stall <= process + 1e-9


@pytest.mark.parametrize(
    ("wall", "process", "queued", "stall"),
    [
        (0.105, 0.1, 0.0, 0.1),  # a callback that computed
        (0.205, 0.1, 0.1, 0.1),  # the same, interrupted for as long by another process
        (0.105, 0.001, 0.1, 0.0),  # no processor
        (0.105, 0.3, 0.0, 0.1),  # another thread held the lock of the interpreter, a third one computed without it
        (0.105, 0.3, 0.1, 0.0),  # a thread computed without that lock while this one had no processor
        (0.105, 0.04, 0.0, 0.04),  # another thread held the lock, and had no processor most of the time
        (0.005, 0.005, 0.0, 0.0),  # in time
    ],
)
def test_what_is_a_stall(wall: float, process: float, queued: float, stall: float) -> None:
    assert work_between(Clocks(0, 0, 0), Clocks(wall, process, queued), 0.005) == pytest.approx(stall)


async def test_work_on_the_loop_is_a_stall(caplog: pytest.LogCaptureFixture) -> None:
    def compute() -> None:
        end = time.thread_time() + _WORK_S
        while time.thread_time() < end:
            pass

    stall = await _stall(compute)
    assert stall > _WORK_S - _TICKS_S
    assert "Work held the event loop for 0." in caplog.text


async def test_a_thread_that_keeps_the_interpreter_to_itself_is_a_stall() -> None:
    thread = threading.Thread(target=max, args=(range(20_000_000),))  # one call into C lets no other thread in
    assert await _stall(thread.start, lambda: not thread.is_alive()) > STALL_S


async def test_a_thread_without_a_processor_is_no_stall(caplog: pytest.LogCaptureFixture) -> None:
    assert await _stall(lambda: time.sleep(_WORK_S)) < STALL_S
    assert not caplog.text


async def _stall(hold: Callable[[], object], is_over: Callable[[], bool] = lambda: True) -> float:
    """The longest stall that was recorded while this was called on the loop, until it is over, and two ticks longer."""
    recorder = MemoryRecorder()
    watch = LoopWatch(recorder)
    watch.start()
    await asyncio.sleep(_TICKS_S)
    hold()
    while not is_over():
        await asyncio.sleep(_TICKS_S)
    await asyncio.sleep(_TICKS_S)
    watch.stop()
    return max(recorder.observed(LOOP_STALL_SECONDS))
