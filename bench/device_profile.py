"""What a device does in a piece of a program, from JAX's profiler."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import jax


class DeviceProfile(NamedTuple):
    """The operations of one device.

    Attributes:
      seconds: by name of the operation, added up.
      counts: how many there were of each name.
    """

    seconds: Counter[str]
    counts: Counter[str]

    @property
    def busy_seconds(self) -> float:
        """Of all operations together; they do not overlap on one stream."""
        return sum(self.seconds.values())


def profile(run: Callable[[], object]) -> DeviceProfile:
    """Profiles a piece of a program that waits for its results; nothing is counted where JAX cannot see the device."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    seconds: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    with TemporaryDirectory() as directory:
        with jax.profiler.trace(directory, profiler_options=options):
            run()
        for path in Path(directory).rglob("*.xplane.pb"):
            for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
                if not plane.name.startswith("/device:GPU:0"):
                    continue
                for line in plane.lines:
                    if not line.name.startswith("Stream"):
                        continue  # the other lines say the same again by module and source
                    for event in line.events:
                        seconds[event.name] += event.duration_ns / 1e9
                        counts[event.name] += 1
    return DeviceProfile(seconds, counts)
