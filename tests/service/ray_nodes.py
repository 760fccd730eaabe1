"""Ray on this machine as if on several: `ray start` for each node, which can be lost."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from serving.servers.ray_environment import RAY_ENVIRONMENT, WITHOUT_HEAD
from tests.free_port import free_port
from tests.service.ray_cluster import ports_beside_another
from tests.service.steered_group import END

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
LONG_S = 900.0
"""Longer than any test may take: what a test waits for has no other limit."""
_SMALL = "100000000"  # bytes; nothing is kept in Ray's object store
_EVERYWHERE = ["--block", "--disable-usage-stats", "--include-log-monitor", "false", "--object-store-memory"]


class Node:
    """`ray start` with these arguments, and all that comes of it."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        command = [str(RAY), "start", *arguments, *_EVERYWHERE, _SMALL]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def check(self) -> None:
        """Fails if it has ended by itself."""
        assert self.process.poll() is None, "`ray start` gave up: see its output"

    def processes(self) -> list[psutil.Process]:
        """All that run on it."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def lose(self) -> None:
        """Kills everything on it, if that is not done."""
        if self.process.poll() is not None:
            return
        processes = self.processes()
        for each in processes:
            with suppress(psutil.NoSuchProcess):  # it ended when another one did
                each.kill()
        psutil.wait_procs(processes, timeout=30)


class ServingNode(Node):
    """A node with a proxy and whatever else answers requests."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        http_port = free_port()
        ports = {  # all nodes are on one machine, where only one of them can have the service's ports
            "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(http_port),
            "RAY_SERVE_WORKER_PROXY_GRPC_PORT": str(free_port()),
            **ports_beside_another(),
        }
        super().__init__({**environment, **ports}, *arguments, "--num-cpus", "16")
        self.url = f"http://127.0.0.1:{http_port}/v1"


class RayNodes:
    """A head with Ray Serve's controller and nothing else, and nodes that serve.

    Attributes:
      address: of the head.
      environment: of the processes.
      end: while this file is there, all generations end.
    """

    def __init__(self, directory: str, stack: ExitStack, *, on_head: Mapping[str, str]) -> None:
        """Starts the head.

        Args:
          directory: for Ray's files; a short path.
          stack: ends all that is started.
          on_head: for the environment of the head's processes.
        """
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self.end = Path(directory, "end")
        self._directory = directory
        self._stack = stack
        self.environment = {
            **os.environ,
            **RAY_ENVIRONMENT,
            **ports_beside_another(),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "protos")]),
            "RAY_AUTH_MODE": "disabled",
            "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(int(LONG_S)),
            "XLA_FLAGS": "",
            END: str(self.end),
        }
        self._on_head = on_head
        self.start_head()

    def start_head(self) -> None:
        """Starts the head, for the first time or again."""
        Path(self._directory, "ray_current_cluster").unlink(missing_ok=True)  # it would be another machine's
        # What is not needed is not started: a raylet whose agents are not ready within 15 s ends, and all that starts
        # shares few processors (github.com/ray-project/ray/issues/65983).
        without = ["--include-dashboard", "false", "--no-monitor"]
        arguments = ["--head", "--port", str(self._port), "--num-cpus", "0", *without, "--temp-dir", self._directory]
        self.head = Node({**self.environment, **self._on_head}, *arguments)
        self._stack.callback(self.head.lose)

    def start(self) -> ServingNode:
        """Starts a node that serves."""
        directory = tempfile.mkdtemp(dir=self._directory)  # in one, those that start together take the same socket
        node = ServingNode({**self.environment, **WITHOUT_HEAD}, "--address", self.address, "--temp-dir", directory)
        self._stack.callback(node.lose)
        return node

    def deploy(self, *, nodes: int) -> None:
        """Deploys a Gateway and a steered group for each of so many nodes; returns when the service is ready."""
        command = [sys.executable, "-m", "tests.service.deploy_simulated", self.address, str(nodes)]
        subprocess.run(command, env=self.environment, cwd=ROOT, check=True, timeout=300)
