"""Memory bandwidth, measured."""

import jax

from sharding.bandwidth import copy_bandwidth


def test_a_bandwidth_is_one_that_a_memory_can_have() -> None:
    """Bounds that hold on any machine: no memory is slower than 10 MB/s, nor faster than a hundred H100."""
    for devices in (jax.devices()[:1], jax.devices()):
        assert 1e7 < copy_bandwidth(devices, size=1 << 20) < 3e14
