"""Limits of tenants and keys over both protocols: what is refused, in which words, and that no limit is exceeded."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.prompt_pb2 import FimInput
from google.rpc.error_details_pb2 import ErrorInfo, QuotaFailure, RetryInfo

from serving.access.config import QuotasConfig
from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.quotas import Quotas, quotas_for
from serving.gateway.quotas import quotas as module
from serving.gateway.quotas.ledger import Account, Refusal
from serving.gateway.quotas.memory import MemoryLedger
from serving.gateway.quotas.redis import RedisLedger
from serving.gateway.request import CodeRequest, End, FimPrompt
from serving.gateway.service import CodeService
from serving.telemetry import metrics
from tests.free_port import free_port
from tests.gateway.counts import Counts
from tests.gateway.grpc_server import failure, grpc_server
from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend, served_model
from tests.redis_server import needs_redis

FIM = {"prompt": "a", "suffix": "b", "max_tokens": 4}


def service_with(backend: ScriptedBackend, quotas: Quotas | None = None, **limits: Any) -> CodeService:
    gateway = GatewayConfig(anyone=True, quotas=QuotasConfig.model_validate(limits))
    models = [served_model(backend, "both", Role.FIM, Role.CHAT)]
    return CodeService(models, gateway, quotas=quotas or quotas_for(gateway), access=OpenAccess())


@asynccontextmanager
async def http(service: CodeService, tenant: str = "acme") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_http_app(lambda: service, GatewayConfig()))
    headers = {"x-tenant-id": tenant}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        yield client


async def statuses(client: httpx.AsyncClient, *bodies: dict[str, Any]) -> list[int]:
    return [(await client.post("/v1/completions", json=body)).status_code for body in bodies]


async def test_over_http_a_request_beyond_a_limit_is_told_which_it_was_and_when_to_come_again(
    backend: ScriptedBackend,
) -> None:
    service = service_with(backend, per_tenant={"requests_per_minute": 2})
    async with http(service) as client:
        assert await statuses(client, FIM, FIM) == [200, 200]
        answer = await client.post("/v1/completions", json=FIM | {"stream": True})
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert error["message"].startswith("requests_per_minute of the tenant 'acme' is 2,")
    assert 50 < int(answer.headers["retry-after"]) <= 60
    async with http(service, tenant="another") as client:
        assert await statuses(client, FIM) == [200]


async def test_over_grpc_the_same_is_in_the_details(backend: ScriptedBackend) -> None:
    service = service_with(backend, per_tenant={"requests_per_minute": 1})
    message, metadata = pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b")), [("x-tenant-id", "acme")]
    async with grpc_server(service) as address, grpc.aio.insecure_channel(address) as channel:
        stub = CodeAssistServiceStub(channel)
        await stub.Complete(message, metadata=metadata)
        error, details = await failure(stub.Complete(message, metadata=metadata))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details[ErrorInfo].reason == "RATE_LIMIT_EXCEEDED"
    assert 50 < details[RetryInfo].retry_delay.seconds <= 60
    assert details[QuotaFailure].violations[0].subject == "tenant acme"
    assert "requests_per_minute" in (error.details() or "")


async def test_tokens_count_as_generated_and_a_request_that_may_take_too_many_waits(backend: ScriptedBackend) -> None:
    service = service_with(backend, per_tenant={"tokens_per_minute": 100})
    async with http(service) as client:
        usage = (await client.post("/v1/completions", json=FIM | {"max_tokens": 90})).json()["usage"]
        left = 100 - usage["total_tokens"]
        answer = await client.post("/v1/completions", json=FIM | {"max_tokens": 90})
        assert answer.status_code == 429
        assert f"is 100, of which {left} are left" in answer.json()["error"]["message"]
        assert await statuses(client, FIM | {"max_tokens": left - usage["prompt_tokens"]}) == [200]


async def test_who_goes_away_pays_for_what_was_generated(backend: ScriptedBackend) -> None:
    backend.pause_at = 3
    service = service_with(backend, per_tenant={"tokens_per_minute": 100, "concurrent_requests": 1})
    request = CodeRequest(request_id="1", prompt=FimPrompt(prefix="a", suffix="b"), tenant="acme", max_tokens=80)
    chunks = service.generate(request)
    await anext(chunks)
    with pytest.raises(ServingError, match="concurrent_requests of the tenant 'acme' is 1"):
        await anext(service.generate(request))
    await chunks.aclose()
    backend.pause_at = None
    with pytest.raises(ServingError, match=r"of which 9\d are left"):
        await anext(service.generate(replace(request, max_tokens=94)))
    assert [chunk async for chunk in service.generate(replace(request, max_tokens=80))]


class WatchedLedger(MemoryLedger):
    """A ledger in memory whose `begin` is told of when it is done and, with `hangs`, never returns.

    Attributes:
      begun: set when a request was entered.
      at_end: called before a request ends.
    """

    def __init__(self, *, hangs: bool = False, at_end: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self._hangs = hangs
        self._at_end = at_end

    async def begin(self, request: str, accounts: Sequence[Account]) -> Refusal | None:
        refusal = await super().begin(request, accounts)
        self.begun.set()
        if self._hangs:
            await asyncio.Event().wait()
        return refusal

    async def end(self, request: str, accounts: Sequence[Account], tokens: int | None) -> None:
        self._at_end()
        await super().end(request, accounts, tokens)


def watched_service(backend: ScriptedBackend, ledger: MemoryLedger, **limits: int) -> CodeService:
    return service_with(backend, Quotas(QuotasConfig.model_validate({"per_tenant": limits}), ledger))


def one() -> CodeRequest:
    """A request that is sent now: its time runs."""
    return CodeRequest(request_id="1", prompt=FimPrompt(prefix="a", suffix="b"), tenant="acme", max_tokens=80)


async def test_who_goes_away_while_a_store_counts_a_request_has_it_no_longer(backend: ScriptedBackend) -> None:
    ledger = WatchedLedger(hangs=True)
    asking = asyncio.ensure_future(anext(watched_service(backend, ledger, concurrent_requests=1).generate(one())))
    await ledger.begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert not ledger.used["tenant:acme"].running


class SlowAtEnd(MemoryLedger):
    """A ledger whose store has what a request took at once, and says so late."""

    def __init__(self, *, busy: bool) -> None:
        super().__init__()
        self.busy = busy
        self.answers = asyncio.Event()
        self.has_end = asyncio.Event()

    @property
    def is_busy(self) -> bool:
        return self.busy

    async def end(self, request: str, accounts: Sequence[Account], tokens: int | None) -> None:
        await super().end(request, accounts, tokens)
        self.has_end.set()
        await self.answers.wait()


async def test_an_answer_does_not_wait_for_the_store_to_say_that_it_has_its_end(backend: ScriptedBackend) -> None:
    ledger = SlowAtEnd(busy=False)
    async for _ in watched_service(backend, ledger, concurrent_requests=1).generate(one()):
        pass
    assert ledger.has_end.is_set()
    ledger.answers.set()


async def test_a_gateway_does_not_end_before_the_store_has_what_requests_took(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = SlowAtEnd(busy=False)
    service = watched_service(backend, ledger, concurrent_requests=1)
    async for _ in service.generate(one()):
        pass
    closing = asyncio.create_task(service.close())
    await asyncio.sleep(0)
    assert not closing.done()
    ledger.answers.set()
    await closing
    ledger.answers.clear()
    async for _ in service.generate(one()):
        pass
    monkeypatch.setattr(module, "_CLOSE_S", 0.0)
    await service.close()  # a store that does not answer holds nobody up
    ledger.answers.set()


async def test_an_answer_waits_where_its_end_would_reach_the_store_after_the_next_request(
    backend: ScriptedBackend,
) -> None:
    ledger = SlowAtEnd(busy=True)

    async def ask() -> None:
        async for _ in watched_service(backend, ledger, concurrent_requests=1).generate(one()):
            pass

    asking = asyncio.create_task(ask())
    await ledger.has_end.wait()
    assert not asking.done()
    ledger.answers.set()
    await asking


async def test_who_goes_away_is_concurrent_until_nothing_is_generated_any_more(backend: ScriptedBackend) -> None:
    backend.pause_at = 3
    running: list[int] = []
    ledger = WatchedLedger(at_end=lambda: running.append(backend.running))
    chunks = watched_service(backend, ledger, concurrent_requests=1).generate(one())
    await anext(chunks)
    await chunks.aclose()
    assert running == [0]


async def test_who_goes_away_pays_for_what_it_did_not_read(backend: ScriptedBackend) -> None:
    backend.text, backend.pause_at = "a = 1\n" * 20, 20
    ledger = MemoryLedger()
    chunks = watched_service(backend, ledger, tokens_per_minute=400).generate(one())
    await anext(chunks)
    await backend.paused.wait()
    await chunks.aclose()
    assert ledger.used["tenant:acme"].tokens == len(backend.requests[0].prompt_ids) + 20


async def test_a_request_that_no_model_took_costs_no_tokens(backend: ScriptedBackend) -> None:
    backend.text, backend.error = "", ServingError(Reason.OVERLOADED, "Not now.")
    ledger = MemoryLedger()
    with pytest.raises(ServingError, match="Not now"):
        await anext(watched_service(backend, ledger, tokens_per_minute=400).generate(one()))
    assert ledger.used["tenant:acme"].tokens == 0


async def test_a_key_has_limits_of_its_own_by_its_name(backend: ScriptedBackend) -> None:
    service = service_with(backend, per_key={"requests_per_minute": 2}, keys={"ci": {"requests_per_minute": 1}})
    request = CodeRequest(request_id="1", prompt=FimPrompt(prefix="a", suffix="b"))
    for key, allowed in (("ann", 2), ("ci", 1)):
        for _ in range(allowed):
            assert [chunk async for chunk in service.generate(replace(request, key=key))]
        with pytest.raises(ServingError, match=f"of the key '{key}' is {allowed}"):
            await anext(service.generate(replace(request, key=key)))


async def test_a_key_without_a_tenant_is_no_part_of_those_who_name_none(backend: ScriptedBackend) -> None:
    service = service_with(backend, per_tenant={"requests_per_minute": 1})
    request = CodeRequest(request_id="1", prompt=FimPrompt(prefix="a", suffix="b"), key="ann")
    for _ in range(3):
        assert [chunk async for chunk in service.generate(request)]


@pytest.mark.parametrize(
    ("quota", "by"), [({"context": 64}, "context"), ({"tokens_per_minute": 64}, "tokens_per_minute")]
)
async def test_a_lower_context_shortens_answers_and_refuses_longer_prompts(
    backend: ScriptedBackend, quota: dict[str, int], by: str
) -> None:
    backend.text = "x = 1\n" * MAX_CONTEXT
    async with http(service_with(backend, tenants={"acme": quota})) as client:
        too_long = await client.post("/v1/completions", json={"prompt": "a b " * 100})
        assert too_long.json()["error"]["code"] == "context_length_exceeded"
        assert f"64 tokens for the tenant 'acme' ({by})" in too_long.json()["error"]["message"]
        whole = await client.post("/v1/completions", json={"prompt": "a", "suffix": "b"})
        assert whole.json()["usage"]["total_tokens"] == 64
        assert whole.json()["choices"][0]["finish_reason"] == "length"


async def test_choices_that_together_take_more_than_a_minute_has_are_refused_for_good(backend: ScriptedBackend) -> None:
    async with http(service_with(backend, per_tenant={"tokens_per_minute": 100})) as client:
        answer = await client.post("/v1/completions", json=FIM | {"max_tokens": 60, "n": 2})
    assert answer.status_code == 400
    assert "tokens_per_minute of the tenant 'acme' is 100" in answer.json()["error"]["message"]


class Unreachable:
    """A ledger whose store does not answer."""

    is_busy = False

    def __init__(self) -> None:
        self.asked = 0

    async def begin(self, *_: object) -> None:
        self.asked += 1
        raise ConnectionError("Connection refused")

    reserve = end = begin


async def test_without_its_store_requests_go_on_uncounted_and_few_wait_to_find_out(
    backend: ScriptedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    limits = QuotasConfig.model_validate({"per_tenant": {"requests_per_minute": 1, "tokens_per_minute": 100}})
    ledger, counts = Unreachable(), Counts()
    service = service_with(backend, Quotas(limits, ledger, counts, lambda: 0.0))
    async with http(service) as client:
        assert await statuses(client, *[FIM] * 4) == [200] * 4
    assert ledger.asked == 1
    assert counts.recorded.count((metrics.UNCOUNTED, {})) == 12
    assert caplog.text.count("does not answer: Connection refused") == 1


async def test_refusals_are_counted_by_limit(backend: ScriptedBackend) -> None:
    counts = Counts()
    limits = QuotasConfig.model_validate({"per_tenant": {"requests_per_minute": 1}})
    async with http(service_with(backend, Quotas(limits, MemoryLedger(), counts))) as client:
        assert await statuses(client, FIM, FIM) == [200, 429]
    assert counts.recorded == [(metrics.LIMITED, {"limit": "requests_per_minute", "whose": "tenant"})]


def test_several_gateways_count_in_one_place() -> None:
    with pytest.raises(ValueError, match=r"quotas.redis is not set, and replicas=2"):
        GatewayConfig(replicas=2, quotas=QuotasConfig())
    assert GatewayConfig(replicas=2, quotas=QuotasConfig(redis="redis://127.0.0.1")).quotas


@needs_redis
async def test_a_store_is_busy_where_another_connection_would_have_to_be_made_first(redis_url: str) -> None:
    ledger, accounts = RedisLedger(redis_url, lease_s=300), [Account("tenant:new", None, None, 9)]

    async def ask(number: int) -> None:
        assert await ledger.begin(f"{number}", accounts) is None

    assert ledger.is_busy
    await ask(1)
    assert not ledger.is_busy
    asking = asyncio.Task(ask(2), eager_start=True, loop=asyncio.get_running_loop())
    assert ledger.is_busy  # the only connection is in use
    await asyncio.gather(asking, ask(3))
    asking = asyncio.Task(ask(4), eager_start=True, loop=asyncio.get_running_loop())
    assert not ledger.is_busy  # there is another now
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert ledger.is_busy  # what was given up is no connection any more
    await ledger.client.aclose()


class Gateways:
    """Two Gateways with one Redis, and as many clients of both as there may be."""

    def __init__(self, backend: ScriptedBackend, url: str, **quota: int) -> None:
        limits = QuotasConfig.model_validate({"redis": url, "per_tenant": quota})
        self.ledgers = [RedisLedger(url, lease_s=300) for _ in range(2)]
        self.services = [service_with(backend, Quotas(limits, ledger)) for ledger in self.ledgers]
        self.tokens = self.requests = 0

    async def client(self, number: int, requests: int) -> None:
        service = self.services[number % 2]
        prompt = FimPrompt(prefix=f"{number}", suffix="b")
        for request in range(requests):
            asked = CodeRequest(request_id=f"{number}-{request}", prompt=prompt, tenant="acme", max_tokens=30)
            try:
                *_, end = [part async for part in service.generate(asked)]
            except ServingError as error:
                assert error.retry_after_s is not None
                continue
            self.requests += 1
            assert isinstance(end, End)
            self.tokens += end.usage.prompt_tokens + end.usage.completion_tokens

    async def run(self, clients: int, requests: int) -> None:
        await self.ledgers[0].client.flushall()
        await asyncio.gather(*(self.client(number, requests) for number in range(clients)))
        for ledger in self.ledgers:
            await ledger.client.aclose()


@needs_redis
async def test_concurrent_requests_of_64_clients_over_two_gateways_are_never_more_than_the_limit(
    backend: ScriptedBackend, redis_url: str
) -> None:
    backend.pause_at = 1
    gateways = Gateways(backend, redis_url, concurrent_requests=7)
    await gateways.ledgers[0].client.flushall()
    for _ in range(2):  # when the first have gone away, as many others are admitted
        tasks = [asyncio.create_task(gateways.client(number, 1)) for number in range(64)]
        async with asyncio.timeout(30):
            while sum(task.done() for task in tasks) < 64 - 7:
                await asyncio.sleep(0)
        admitted = [task for task in tasks if not task.done()]
        for task in admitted:
            task.cancel()
        await asyncio.gather(*admitted, return_exceptions=True)
        assert (len(admitted), gateways.requests) == (7, 0)
    for ledger in gateways.ledgers:
        await ledger.client.aclose()


@needs_redis
async def test_a_redis_that_is_gone_refuses_nobody(backend: ScriptedBackend) -> None:
    gateways = Gateways(backend, f"redis://127.0.0.1:{free_port()}", requests_per_minute=1)
    await asyncio.gather(*(gateways.client(number, 3) for number in range(4)))
    assert gateways.requests == 12
    for ledger in gateways.ledgers:
        await ledger.client.aclose()
