"""served: a service of its own for an evaluation, by `codegemma serve`."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from serving.evaluation.service import ServiceError

_PROGRAM = "from serving.cli.main import app; app()"
_POLL_S = 0.5
_ANSWER_S = 5.0
_SAY_EVERY_S = 30.0
_START_S = 3600.0
"""For a large model from a slow disk, with every step to compile."""
_STOP_S = 120.0
_ANY_HOST = ("0.0.0.0", "::")


@contextmanager
def served(config: Path, address: tuple[str, int], say: Callable[[str], None]) -> Iterator[str]:
    """Starts the service, and ends it with the block.

    Args:
      config: a Ray Serve config file.
      address: on which it listens for HTTP, by that file.
      say: called with what is being waited for.

    Yields:
      Its URL, once every model is ready.

    Raises:
      ServiceError: another process answers on its address, or it is not ready in an hour, or it ended before it
        was ready and has said why.
    """
    host, port = ("127.0.0.1" if address[0] in _ANY_HOST else address[0]), address[1]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if _is_taken(host, port):
        raise ServiceError(
            f"Another process answers on {host}:{port}, where {config} has its service. End it, choose another port in "
            "http_options, or ask what is there with --url instead of --config."
        )
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "serve", "--config", str(config)], stdout=subprocess.DEVNULL
    )
    try:
        _wait(process, config, url, say)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], config: Path, url: str, say: Callable[[str], None]) -> None:
    """Waits until it has every model ready."""
    started = time.monotonic()
    said, said_at = "", started
    while True:
        missing = not_ready(url)
        if process.poll() is not None:  # another service answers at this address
            raise ServiceError(f"codegemma serve --config {config} did not start: what it said is above.")
        if not missing:
            return
        now = time.monotonic()
        if now - started >= _START_S:
            raise ServiceError(f"codegemma serve --config {config} is not ready after {_START_S:.0f} s: {missing}.")
        if missing != said or now - said_at >= _SAY_EVERY_S:
            say(f"Waiting for the service at {url}, {now - started:.0f} s: {missing}")
            said, said_at = missing, now
        time.sleep(_POLL_S)


def not_ready(url: str) -> str:
    """What a service has not ready yet; nothing if every model is."""
    try:
        answer = httpx.get(f"{url}/health", timeout=_ANSWER_S).json()
        if answer["status"] == "ok":
            return ""
        return f"not ready: {', '.join(answer['unavailable'])}"
    except (httpx.HTTPError, ValueError, TypeError, KeyError):  # no server, or Ray Serve's own proxy
        return "no model answers yet"


def _is_taken(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _ANSWER_S).close()
    except OSError:
        return False
    return True
