"""A real container registry for as long as a test runs, where this machine has one."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.free_port import free_port

needs_registry = pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="needs a container registry: apt install docker-registry"
)


@contextmanager
def running_registry(directory: Path) -> Iterator[str]:
    """Starts one on loopback, which keeps all in a directory; yields its host and port."""
    address = f"127.0.0.1:{free_port()}"
    file = directory / "registry.yaml"
    storage = {"filesystem": {"rootdirectory": str(directory / "registry")}}
    file.write_text(yaml.safe_dump({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with (directory / "registry.log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", file], stdout=log, stderr=log)
    try:
        while True:
            try:
                httpx.get(f"http://{address}/v2/").raise_for_status()
                break
            except httpx.TransportError:
                assert process.poll() is None, (directory / "registry.log").read_text()
                time.sleep(0.01)
        yield address
    finally:
        process.kill()
        process.wait()
