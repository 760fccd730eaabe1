"""An adapter that cannot be used is the business of those that ask for it: groups serve everybody else as before."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from serving.config import GatewayConfig, LimitsConfig, ModelConfig, Role
from serving.engine.adapters import ReadAdapter
from serving.engine.engine import Engine
from serving.engine.errors import AdapterUnusable
from serving.engine.loop import EngineThread
from serving.errors import Reason
from serving.gateway.access import OpenAccess
from serving.gateway.groups.pool import GroupPool
from serving.gateway.service import CodeService
from serving.group.server import GroupServer
from tests.engine.simulated import TIMEOUT_S, SimulatedRunner, expected_tokens, limits_of, request_of
from tests.gateway.asking import code_request, refusal
from tests.gateway.collected import collected
from tests.gateway.scripted_backend import ScriptedBackend, served_model

MODEL = ModelConfig(id="simulated", checkpoint="none", roles=(Role.CHAT,), limits=LimitsConfig(max_rows=4, max_queue=8))


class Shelf:
    """Adapters of which `damaged` and `unreadable` cannot be loaded, and `vanishing` goes while it is read."""

    def __init__(self) -> None:
        self.stamps = dict.fromkeys(("damaged", "unreadable", "vanishing"), "1")
        self.reads: dict[str, int] = defaultdict(int)

    def stamp(self, name: str) -> str:
        return self.stamps.get(name, "")

    @property
    def age_s(self) -> float:
        return 0

    async def look(self, name: str) -> str:
        if name == "silent":
            raise TimeoutError
        return self.stamp(name)

    def read(self, name: str) -> ReadAdapter:
        self.reads[name] += 1
        match name:
            case "damaged":
                raise AdapterUnusable("adapter_model.safetensors: tensor x has shape (1,)")
            case "vanishing":
                del self.stamps[name]
        raise OSError("/secret/path: Input/output error")


class Group:
    """An engine with adapters, its thread and its server."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        runner = SimulatedRunner(limits_of(adapters=2, max_context=512, num_pages=256))
        self.engine = Engine(runner, max_queue=100, adapters=self.shelf)
        self.server = GroupServer(self.engine, "127.0.0.1", self.shelf)
        self.thread = EngineThread(self.engine, after_step=self.server.after_step)
        self.thread.start()
        self.address = self.server.start()

    def stop(self) -> None:
        self.thread.stop(drain=False, timeout_s=TIMEOUT_S)
        self.server.stop()


async def nothing_to_wake() -> None:
    """There are groups."""


@pytest.fixture
async def groups() -> AsyncIterator[list[Group]]:
    groups = [Group(), Group()]
    yield groups
    for group in groups:
        await asyncio.to_thread(group.stop)


@pytest.fixture
async def pool(groups: list[Group]) -> AsyncIterator[GroupPool]:
    pool = GroupPool(MODEL, nothing_to_wake)
    pool.update({str(number): group.address for number, group in enumerate(groups)})
    async with asyncio.timeout(TIMEOUT_S):
        while pool.groups < len(groups):
            await asyncio.sleep(0.001)
    yield pool
    await pool.close()


def service_with(adapter: str, pool: GroupPool, backend: ScriptedBackend) -> CodeService:
    """A service of one model, which is always computed with an adapter."""
    model = replace(served_model(backend, "m", Role.FIM), backend=pool, adapter=adapter)
    return CodeService([model], GatewayConfig(), access=OpenAccess())


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        (
            "damaged",
            Reason.INVALID_ARGUMENT,
            "the adapter 'damaged' cannot be loaded: adapter_model.safetensors: tensor x has shape (1,)",
        ),
        (
            "unreadable",
            Reason.INVALID_ARGUMENT,
            "the adapter 'unreadable' cannot be loaded; the log of its replica group says why",
        ),
        ("vanishing", Reason.MODEL_NOT_FOUND, "there is no adapter 'vanishing' any more"),
        ("unknown", Reason.MODEL_NOT_FOUND, "there is no adapter 'unknown' any more"),
        ("silent", Reason.OVERLOADED, "the disk with the adapter 'silent' does not answer. Try again."),
    ],
)
async def test_an_adapter_that_cannot_be_used_is_an_error_of_its_request_and_every_group_stays_in_service(
    pool: GroupPool, groups: list[Group], backend: ScriptedBackend, name: str, reason: Reason, message: str
) -> None:
    service = service_with(name, pool, backend)
    for _ in range(3):
        error = await refusal(service, code_request())
        assert (error.reason, error.message) == (reason, message)
    assert pool.groups == len(groups)
    request = request_of("plain")
    assert (await collected(pool, request)).ids == expected_tokens(request, 512)[0]


async def test_a_damaged_adapter_is_read_once_by_each_group_until_it_changes(
    pool: GroupPool, groups: list[Group], backend: ScriptedBackend
) -> None:
    service = service_with("damaged", pool, backend)
    for _ in range(10):
        await refusal(service, code_request())
    assert all(group.shelf.reads["damaged"] <= 1 for group in groups)
    for group in groups:
        group.shelf.stamps["damaged"] = "2"
        group.shelf.reads.clear()
    await refusal(service, code_request())
    assert sum(group.shelf.reads["damaged"] for group in groups) == 1
