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

from serving.supervision.processes import service_processes
from tests.service.ray_nodes import LONG_S, RAY, ROOT, RayNodes, ServingNode

LEAVE = ROOT / "helm" / "codegemma-serving" / "files" / "leave.py"
ENDLESS = 8000  # tokens, of which a test takes as many as it lasts

REPLACED = {"Gateway": 2, "leader": 2}
"""What runs on the node that stays, once the other's part has been started there."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def nodes_and_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[tuple[ServingNode, ServingNode], Path]]:
    """Two nodes that serve, each with a Gateway and a group, and the file that ends all generations."""
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as directory,
        ExitStack() as stack,
    ):  # Ray's paths must be short
        nodes = RayNodes(directory, stack, on_head={})
        serving = nodes.start(), nodes.start()
        nodes.deploy(nodes=2)
        monkeypatch.setenv("PATH", str(RAY.parent), prepend=":")
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)  # as KubeRay does
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        yield serving, nodes.end


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The chart's leave.py, without the time for load balancers: there are none."""
    spec = importlib.util.spec_from_file_location("leave", LEAVE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_ENDPOINTS_S", 0)
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
    nodes_and_end: tuple[tuple[ServingNode, ServingNode], Path], program: ModuleType, tmp_path: Path
) -> None:
    nodes, end = nodes_and_end
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
        open_streams = [tasks.create_task(answered(client, ENDLESS)) for client in (there, elsewhere) for _ in range(8)]
        left = tasks.create_task(asyncio.to_thread(program.leave, int(LONG_S), processes_of(leaving, tmp_path)))
        while replicas(staying) != REPLACED:  # no more requests come to a pod that is to go
            assert await answered(elsewhere, 3) == "length"
        assert not any(stream.done() for stream in open_streams)
        assert not left.done()
        end.touch()
        assert await asyncio.gather(*open_streams) == ["stop"] * 16
        end.unlink()
        while not left.done():
            assert await answered(elsewhere, 3) == "length"
        assert replicas(leaving) == {"Gateway": 0, "leader": 0}
        leaving.lose()
        assert await answered(elsewhere, 3) == "length"
    assert replicas(staying) == REPLACED
