"""The memory that the service may use: the machine's, or the container's."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

_GIB = 2**30
_PERIOD_S = 1.0
_MONITOR = "RAY_memory_monitor_refresh_ms"
_THRESHOLD = "RAY_memory_usage_threshold"
_DEFAULT_THRESHOLD = 0.95
_MARGIN = 0.02
"""Memory is free again when it is this share below Ray's threshold; else what starts would cross it at once."""
_ROOM = 2 * _GIB
"""Without Ray's memory monitor: what a start needs beside weights, at the least."""


@dataclass(frozen=True)
class Memory:
    """Bytes in use, by all programs, and in all."""

    used: int
    total: int

    @property
    def is_short(self) -> bool:
        """Whether Ray's memory monitor, or else soon the kernel, ends processes."""
        if os.environ.get(_MONITOR) == "0":
            return self.total - self.used < min(_ROOM, _MARGIN * self.total)
        threshold = float(os.environ.get(_THRESHOLD, _DEFAULT_THRESHOLD))
        return self.used >= (threshold - _MARGIN) * self.total

    def __str__(self) -> str:
        return f"{self.used / _GIB:.1f} of {self.total / _GIB:.1f} GiB"


def memory() -> Memory:
    """As Ray's memory monitor sees it."""
    from ray._common.utils import get_system_memory  # here, as importing Ray takes a second
    from ray._private.utils import get_used_memory

    return Memory(get_used_memory(), get_system_memory())


def wait_for_memory(say: Callable[[str], None]) -> None:
    """Return once there is memory to start with; says so if there is none yet."""
    if (now := memory()).is_short:
        say(f"The memory is full ({now} in use): free some, and the service starts by itself.")
    while memory().is_short:
        time.sleep(_PERIOD_S)
