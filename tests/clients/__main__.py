"""Starts the service as `make serve` does, and has the clients that people use ask it, unmodified.

    python -m tests.clients

They are the Python clients and the Node and Neovim of `.venv-clients`, which `scripts/clients.sh` makes. Each part
runs in its own test runner and finds the service by `CODEGEMMA_URL` and `CODEGEMMA_GRPC`.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.service.serve_process import Server

_TESTS = Path(__file__).parent
_BIN = _TESTS.parents[1] / ".venv-clients" / "bin"
_PARTS: dict[str, list[str | Path]] = {
    "Python": [_BIN / "pytest", _TESTS / "python"],
    "JavaScript": [
        _BIN / "node",
        *("--test", "--test-force-exit", "--test-timeout=60000"),
        *sorted((_TESTS / "javascript").glob("*.test.js")),
    ],
    "Neovim": [_BIN / "nvim", "--clean", "--headless", "-l", _TESTS / "neovim" / "llama_vim.lua"],
}


def main() -> None:
    """Runs all parts; the exit status is 1 if one of them failed."""
    with Server() as server:
        print("Starting the service: it compiles the first time", flush=True)
        server.output_until("Ctrl-C drains")
        found = {
            "CODEGEMMA_URL": f"http://127.0.0.1:{server.http_port}",
            "CODEGEMMA_GRPC": f"127.0.0.1:{server.grpc_port}",
        }
        failed = [name for name, command in _PARTS.items() if not _passes(name, command, found)]
        server.ends_well_by(signal.SIGINT)
    sys.exit(f"Failed: {', '.join(failed)}." if failed else 0)


def _passes(name: str, command: list[str | Path], found: dict[str, str]) -> bool:
    print(f"-- {name}", flush=True)
    return subprocess.run(command, env={**os.environ, **found}, check=False).returncode == 0


if __name__ == "__main__":
    main()
