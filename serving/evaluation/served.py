"""served: a service of its own for an evaluation, by `codegemma serve`."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from serving.evaluation.service import ServiceError

_PROGRAM = "from serving.cli.main import app; app()"
_POLL_S = 0.5
_ANSWER_S = 5.0
_STOP_S = 120.0
_ANY_HOST = ("0.0.0.0", "::")


@contextmanager
def served(config: Path, address: tuple[str, int]) -> Iterator[str]:
    """Starts the service, which shows its own progress, and ends it with the block.

    Args:
      config: a Ray Serve config file.
      address: on which it listens for HTTP, by that file.

    Yields:
      Its URL, once every model is ready.

    Raises:
      ServiceError: it ended before it was ready; it has said why.
    """
    host, port = address
    url = f"http://{'127.0.0.1' if host in _ANY_HOST else host}:{port}"
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "serve", "--config", str(config)], stdout=subprocess.DEVNULL
    )
    try:
        while not is_ready(url):
            if process.poll() is not None:
                raise ServiceError(f"codegemma serve --config {config} did not start: what it said is above.")
            time.sleep(_POLL_S)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_ready(url: str) -> bool:
    """Whether a service answers and has every model ready."""
    try:
        answer = httpx.get(f"{url}/health", timeout=_ANSWER_S)
        return answer.is_success and answer.json()["status"] == "ok"
    except (httpx.HTTPError, ValueError, TypeError, KeyError):  # nobody, or Ray Serve's own proxy
        return False
