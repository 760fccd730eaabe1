"""Memory bandwidth, measured."""

from itertools import chain, repeat

import jax
import pytest

from sharding.bandwidth import PASSES, memory_bandwidth

MIB = 1 << 20


@pytest.mark.parametrize("count", [1, 2])
def test_each_device_reads_and_writes_its_array_in_the_best_time(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_s = chain([3.0, 0.5], repeat(2.0))
    clock = (at for began in range(0, 1000, 10) for at in (began, began + next(taken_s)))
    monkeypatch.setattr("sharding.bandwidth.time.perf_counter", lambda: next(clock))
    assert memory_bandwidth(jax.devices()[:count], size=MIB) == PASSES * 2 * MIB / 0.5
