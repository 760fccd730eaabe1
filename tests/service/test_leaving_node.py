"""A node that is to go, as Kubernetes ends a pod: what the chart's leave.py waits for, and that nobody notices."""

import asyncio
import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import count
from pathlib import Path
from types import ModuleType

import openai
import pytest

from bench.simulated import STEP_S
from serving.supervision.processes import service_processes
from tests.service.ray_nodes import RAY, ROOT, RayNodes, ServingNode

LEAVE = ROOT / "helm" / "codegemma-serving" / "files" / "leave.py"
TOKENS = 400  # forty seconds, twice as long on a busy machine: more than until the node has been replaced
GRACE_S = 200

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ServingNode, ServingNode]]:
    """Two nodes that serve, each with a Gateway and a group."""
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as directory,
        ExitStack() as stack,
    ):  # Ray's paths must be short
        nodes = RayNodes(directory, stack, variables={STEP_S: "0.1"}, on_head={})
        serving = nodes.start(), nodes.start()
        nodes.deploy(nodes=2)
        monkeypatch.setenv("PATH", str(RAY.parent), prepend=":")
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)  # as KubeRay does
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        yield serving


@pytest.fixture
def program() -> ModuleType:
    """The chart's leave.py."""
    spec = importlib.util.spec_from_file_location("leave", LEAVE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def processes_of(node: ServingNode, directory: Path) -> Path:
    """A /proc with the processes of a node only, as its pod has one."""
    for process in node.processes():
        (directory / str(process.pid)).symlink_to(f"/proc/{process.pid}")
    return directory


def replicas(node: ServingNode) -> dict[str, int]:
    processes = service_processes(node.process.pid)
    return {kind: len(processes[kind]) for kind in ("Gateway", "leader")}


async def test_a_node_goes_under_load_without_a_failed_request(
    nodes: tuple[ServingNode, ServingNode], program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving, staying = nodes
    assert replicas(leaving) == replicas(staying) == {"Gateway": 1, "leader": 1}
    prompts = (f"{number}" for number in count())  # equal ones in flight would share a computation

    async def answered(client: openai.AsyncOpenAI, tokens: int) -> str | None:
        stream = await client.completions.create(
            model="simulated", prompt=next(prompts), max_tokens=tokens, stream=True
        )
        return [chunk async for chunk in stream][-1].choices[0].finish_reason

    async with AsyncExitStack() as stack:
        there, elsewhere = [
            await stack.enter_async_context(openai.AsyncOpenAI(base_url=node.url, api_key="none", max_retries=0))
            for node in nodes
        ]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        open_streams = [tasks.create_task(answered(client, TOKENS)) for client in (there, elsewhere) for _ in range(8)]
        open_when_told: list[bool] = []
        drain = program.drain

        def told(*arguments: object) -> None:
            open_when_told.extend(not stream.done() for stream in open_streams)
            drain(*arguments)

        monkeypatch.setattr(program, "drain", told)
        left = tasks.create_task(asyncio.to_thread(program.leave, GRACE_S, processes_of(leaving, tmp_path)))
        while not left.done():  # no more requests come to a pod that is to go
            assert await answered(elsewhere, 3) == "length"
        assert open_when_told == [True] * 16
        assert await asyncio.gather(*open_streams) == ["length"] * 16
        assert replicas(leaving) == {"Gateway": 0, "leader": 0}
        leaving.lose()
        assert await answered(elsewhere, 3) == "length"
    assert replicas(staying) == {"Gateway": 2, "leader": 2}
