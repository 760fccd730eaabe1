"""Runs the demo's pods on this machine as KubeRay and a kubelet would, and changes them under load: `make pods`."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

from tests.helm.chart import ROOT
from tests.pods import scenario
from tests.pods.checks import CheckError
from tests.pods.clock import Clock, OverdueError
from tests.pods.control_plane.cluster import LostHeadError
from tests.pods.manifest import Manifest
from tests.pods.node import image
from tests.pods.node.command import MissingError, find_programs
from tests.pods.node.folder import keep_logs, locked
from tests.pods.node.image import Image
from tests.pods.node.leftovers import removed
from tests.pods.node.network import start_bridge
from tests.pods.release import running

_DELETION_DELAY_S = 20.0
"""Until the old cluster goes; the chart has it wait until the slowest request has ended."""
_LOGS = ROOT / ".cache" / "pods"


async def _run(clock: Clock, manifest: Manifest, mounted: Image) -> bool:
    """Whether everything held."""
    held = False
    try:
        async with running(manifest, mounted, _DELETION_DELAY_S) as release:
            await scenario.install(clock, release, manifest)
            await scenario.change_in_place(clock, release)
            await scenario.change_pods(clock, release)
            await scenario.leave(clock, release)
            scenario.check_end(release)
            held = True
    except* (CheckError, OverdueError, LostHeadError) as group:
        for error in _leaves(group):
            clock.say(f"FAILED: {error}")
    return held


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def main() -> int:
    """Runs it; the exit status is 0 if everything held."""
    if os.geteuid() != 0:
        print("`make pods` makes network namespaces and containers: run it as root.", file=sys.stderr)
        return 2
    # A shell has what it starts in the background ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # to clean up then as well
    clock = Clock()
    held = kept = False
    try:
        find_programs()
        manifest = scenario.first_release()
        with locked(), removed(), image.mounted(manifest.image) as mounted:
            start_bridge()
            try:
                held = asyncio.run(_run(clock, manifest, mounted))
            finally:
                if not held:
                    kept = keep_logs(_LOGS)
    except MissingError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        clock.say("interrupted; everything is removed")
        return 130
    logs = f"logs are in {_LOGS}" if kept else "no container had logged anything"
    clock.say(f"{'all of it held' if held else f'not all of it held: {logs}'}; everything else is removed")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
