"""RequestRecords: how a Gateway's requests end, over both protocols."""

import asyncio
import logging

import grpc
import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.model_service_pb2 import GetModelRequest
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub
from codegemma.v1.prompt_pb2 import FimInput

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.records import RequestRecords
from serving.gateway.service import CodeService
from serving.telemetry import metrics
from tests.gateway.grpc_server import failure, grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model
from tests.telemetry.memory_recorder import MemoryRecorder

FIM = {"prompt": "a", "suffix": "b"}
CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


class Observed:
    """A service of one model, and what was recorded of it."""

    def __init__(self, backend: ScriptedBackend) -> None:
        model = served_model(backend, "both", Role.FIM, Role.CHAT)
        self.recorder = MemoryRecorder()
        self.records = RequestRecords(self.recorder, [model.config])
        self.service = CodeService([model], GatewayConfig(), records=self.records, access=OpenAccess())
        app = build_http_app(lambda: self.service, GatewayConfig())
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://gateway"
        )

    def ended(self, **labels: str) -> float:
        return self.recorder.total(metrics.REQUESTS, **labels)


@pytest.fixture
def observed(backend: ScriptedBackend) -> Observed:
    return Observed(backend)


async def test_an_answer_is_counted_by_model_role_and_protocol_with_its_times(observed: Observed) -> None:
    await observed.http.post("/v1/completions", json=FIM)
    await observed.http.post("/v1/chat/completions", json=CHAT | {"stream": True})
    async with grpc_server(observed.service) as address, grpc.aio.insecure_channel(address) as channel:
        await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b")))
    for labels in ({"role": "fim", "protocol": "http"}, {"role": "chat", "protocol": "http"}, {"protocol": "grpc"}):
        assert observed.ended(model="both", reason="ok", **labels) == 1
        for metric in (metrics.TIME_TO_FIRST_TOKEN, metrics.TIME_PER_OUTPUT_TOKEN, metrics.REQUEST_SECONDS):
            [seconds] = observed.recorder.observed(metric, model="both", **labels)
            assert 0 <= seconds < 30
    assert observed.ended() == 3


async def test_every_counter_begins_at_0(observed: Observed) -> None:
    for role in ("fim", "chat"):
        for reason in ("ok", "cancelled", *Reason):
            assert observed.recorder.values[
                metrics.REQUESTS.name,
                frozenset({"model": "both", "role": role, "protocol": "grpc", "reason": reason}.items()),
            ] == [0]


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.UNAVAILABLE, Reason.INTERNAL])
async def test_a_failure_is_counted_by_its_reason_and_has_no_times(
    observed: Observed, backend: ScriptedBackend, reason: Reason
) -> None:
    backend.text, backend.error = "", ServingError(reason, "no")
    await observed.http.post("/v1/completions", json=FIM)
    assert observed.ended(model="both", role="fim", reason=reason) == 1
    assert observed.ended(reason="ok") == 0
    assert observed.recorder.observed(metrics.REQUEST_SECONDS) == []


async def test_a_failure_of_the_server_itself_is_internal(observed: Observed, backend: ScriptedBackend) -> None:
    backend.error = RuntimeError("a bug")
    async with grpc_server(observed.service) as address, grpc.aio.insecure_channel(address) as channel:
        await failure(CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="a")))
    assert observed.ended(model="both", protocol="grpc", reason="internal") == 1


async def test_what_cannot_be_read_is_counted_as_refused_and_not_as_a_request(observed: Observed) -> None:
    await observed.http.post("/v1/completions", content=b"{")
    await observed.http.post("/v1/chat/completions", json=CHAT | {"n": "many"})
    async with grpc_server(observed.service) as address, grpc.aio.insecure_channel(address) as channel:
        await failure(CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(request_id="not one")))
        await failure(CodeAssistServiceStub(channel).Complete(pb.CompleteRequest()))
    assert observed.recorder.total(metrics.REFUSED, protocol="http", reason="malformed_body") == 1
    assert observed.recorder.total(metrics.REFUSED, protocol="http", reason="invalid_argument") == 1
    assert observed.recorder.total(metrics.REFUSED, protocol="grpc", reason="invalid_argument") == 2
    assert observed.recorder.total(metrics.REFUSED) == 4
    assert observed.ended() == 0


async def test_a_refusal_of_what_generates_nothing_is_counted_over_both_protocols(observed: Observed) -> None:
    await observed.http.post("/v1/messages/count_tokens", json=CHAT | {"model": "none"})
    await observed.http.get("/v1/models/none")
    async with grpc_server(observed.service) as address, grpc.aio.insecure_channel(address) as channel:
        await failure(CodeAssistServiceStub(channel).CountTokens(pb.CountTokensRequest(prompt="a", model="none")))
        await failure(ModelServiceStub(channel).GetModel(GetModelRequest(model="none")))
    for protocol in ("http", "grpc"):
        assert observed.recorder.total(metrics.REFUSED, protocol=protocol, reason="model_not_found") == 2


async def test_choices_made_side_by_side_do_not_count_as_later_tokens(observed: Observed) -> None:
    await observed.http.post("/v1/completions", json=FIM | {"n": 2, "temperature": 1})
    assert observed.ended(reason="ok") == 1
    assert observed.recorder.observed(metrics.TIME_PER_OUTPUT_TOKEN) == []


async def test_the_prompt_that_is_refused_among_several_is_recorded(observed: Observed) -> None:
    answer = await observed.http.post("/v1/completions", json={"prompt": [" a" * 600, "b"]})
    assert answer.status_code == 400
    assert observed.ended(reason="context_length_exceeded") == observed.ended() == 1


async def test_prompts_beside_one_that_fails_count_as_cancelled(observed: Observed) -> None:
    answer = await observed.http.post("/v1/completions", json={"prompt": ["a", "b" * 4096, "c"]})
    assert answer.status_code == 400
    assert observed.ended(reason="context_length_exceeded") == 1
    assert observed.ended(reason="cancelled") == 1  # the one before it: the other was not looked at
    assert observed.ended() == 2


async def test_each_of_several_prompts_is_recorded(observed: Observed) -> None:
    await observed.http.post("/v1/completions", json={"prompt": ["a", "b"]})
    assert observed.ended(reason="ok") == observed.ended() == 2
    assert len(observed.recorder.observed(metrics.TIME_TO_FIRST_TOKEN)) == 2
    observed.records.report({}, {})
    assert observed.recorder.last(metrics.OPEN_REQUESTS, protocol="http") == 0


async def test_what_fails_outside_of_the_answer_is_internal(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("serving.gateway.open_request.request_span", fails)
    assert (await observed.http.post("/v1/completions", json=FIM)).status_code == 500
    assert observed.ended(reason="internal") == observed.ended() == 1


async def test_a_request_for_no_model_is_counted_without_one(observed: Observed) -> None:
    await observed.http.post("/v1/completions", json=FIM | {"model": "none"})
    assert observed.ended(model="", role="fim", reason="model_not_found") == 1


async def test_a_client_that_goes_away_is_counted_as_such(observed: Observed, backend: ScriptedBackend) -> None:
    backend.pause_at = 1
    async with grpc_server(observed.service) as address, grpc.aio.insecure_channel(address) as channel:
        call = CodeAssistServiceStub(channel).StreamComplete(pb.StreamCompleteRequest(prompt="a"))
        await backend.paused.wait()
        observed.records.report({}, {})
        assert observed.recorder.last(metrics.OPEN_REQUESTS, protocol="grpc") == 1
        call.cancel()
        async with asyncio.timeout(30):
            await backend.idle.wait()
        observed.records.report({}, {})
    assert observed.ended(reason="cancelled") == 1
    assert observed.recorder.last(metrics.OPEN_REQUESTS, protocol="grpc") == 0


async def test_every_request_has_one_line_in_the_log_without_its_text(
    observed: Observed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ray.serve.request")
    secret = {"prompt": "a secret prompt", "suffix": "a secret suffix"}
    await observed.http.post("/v1/completions", json=secret, headers={"x-request-id": "mine", "x-tenant-id": "acme"})
    await observed.http.post("/v1/completions", json=secret | {"model": "none"}, headers={"x-request-id": "other"})
    first, second = map(vars, caplog.records)
    assert (first["client_request_id"], first["reason"], first["model"], first["tenant"]) == (
        "mine",
        "ok",
        "both",
        "acme",
    )
    assert first["tokens"] > 0
    assert first["request_seconds"] >= first["time_to_first_token_seconds"] >= 0
    assert (second["client_request_id"], second["reason"]) == ("other", "model_not_found")
    assert all("secret" not in str(vars(record)) for record in caplog.records)


async def test_waiting_requests_and_groups_are_told_by_model(observed: Observed) -> None:
    class Pool:
        waiting = 3
        groups = 2

    observed.records.report({"both": Pool()}, {})
    assert observed.recorder.last(metrics.WAITING_REQUESTS, model="both") == 3
    assert observed.recorder.last(metrics.READY_GROUPS, model="both") == 2
