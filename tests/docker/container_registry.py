"""A real container registry for as long as a test runs, where this machine has one."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

_START_S = 60.0
needs_registry = pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="needs a container registry: apt install docker-registry"
)


@contextmanager
def running_registry(directory: Path) -> Iterator[str]:
    """Starts one on loopback, which keeps all in a directory; yields its host and port."""
    file = directory / "registry.yaml"
    storage = {"filesystem": {"rootdirectory": str(directory / "registry")}}
    file.write_text(yaml.safe_dump({"version": 0.1, "storage": storage, "http": {"addr": "127.0.0.1:0"}}))
    log = directory / "registry.log"
    with log.open("w") as output:
        process = subprocess.Popen(["docker-registry", "serve", file], stdout=output, stderr=output)
    try:
        yield _address(process, log)
    finally:
        process.kill()
        process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where it listens, once it does: the kernel has chosen the port."""
    end = time.monotonic() + _START_S
    while True:
        has_ended = process.poll() is not None
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        if has_ended or time.monotonic() > end:
            raise AssertionError(f"the registry {'has ended' if has_ended else 'does not listen'}:\n{log.read_text()}")
        time.sleep(0.01)
