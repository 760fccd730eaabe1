"""The loss of Ray's head node, its state elsewhere: what serves does not notice, and what died comes back."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from serving.supervision.processes import service_processes
from tests.redis_server import needs_redis, running_redis
from tests.service.ray_nodes import LONG_S, RayNodes, ServingNode

ENDLESS = 8000  # tokens, of which a test takes as many as it lasts

pytestmark = pytest.mark.timeout(600)


def _redis(directory: Path, stack: ExitStack) -> dict[str, str]:
    return {"RAY_REDIS_ADDRESS": urlsplit(stack.enter_context(running_redis(directory))).netloc}


def _rocksdb(directory: Path, stack: ExitStack) -> dict[str, str]:
    """As KubeRay sets it, with a volume that the next head gets, too."""
    return {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(directory / "gcs")}


@pytest.fixture(params=[pytest.param(_redis, marks=needs_redis, id="redis"), pytest.param(_rocksdb, id="rocksdb")])
def head_and_node(request: pytest.FixtureRequest) -> Iterator[tuple[RayNodes, ServingNode]]:
    """The head, and a node that serves."""
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as directory,
        ExitStack() as stack,
    ):  # Ray's paths must be short
        nodes = RayNodes(directory, stack, on_head=request.param(Path(directory), stack))
        node = nodes.start()
        nodes.deploy(nodes=1)
        yield nodes, node


async def test_requests_do_not_notice_that_the_head_is_lost_and_a_group_lost_with_it_comes_back(
    head_and_node: tuple[RayNodes, ServingNode],
) -> None:
    nodes, node = head_and_node
    prompts = (f"{number}" for number in count())  # equal ones in flight would share a computation

    async def answers(client: openai.AsyncOpenAI) -> bool:
        try:
            answer = await client.completions.create(model="simulated", prompt=next(prompts), max_tokens=3)
        except openai.InternalServerError as error:
            assert error.status_code == 503  # try again
            return False
        return answer.choices[0].finish_reason == "length"

    async with openai.AsyncOpenAI(base_url=node.url, api_key="none", max_retries=0, timeout=LONG_S) as client:
        stream = await client.completions.create(model="simulated", prompt="b", max_tokens=ENDLESS, stream=True)
        await anext(stream)
        nodes.head.lose()
        for _ in range(20):
            assert await answers(client)
        nodes.end.touch()
        assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "stop"
        nodes.end.unlink()

        [group] = service_processes(node.process.pid)["leader"]
        group.kill()
        group.wait(LONG_S)
        waiting = asyncio.create_task(answers(client))
        nodes.start_head()
        while not await answers(client):  # a head, a controller and a group start one after the other
            nodes.head.check()
            await asyncio.sleep(0.5)
        assert await waiting  # in the Gateway, until there was a group again
