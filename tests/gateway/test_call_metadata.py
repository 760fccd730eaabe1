"""What comes beside a request is read by the same names over both protocols."""

import re
from typing import Any

import grpc
import httpx
import pytest
from codegemma.client.channel import channel_options
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Reason, ServingError
from serving.gateway.access import Caller
from serving.gateway.call_metadata import CallMetadata
from serving.gateway.request import CodeRequest, TextPrompt
from serving.request_id import is_request_id
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

ALL = {
    "x-request-id": "mine",
    "x-session-id": "cursor",
    "x-tenant-id": "acme",
    "traceparent": "00-1-2-01",
    "authorization": "Bearer key",
    "x-api-key": "key",
}
CALLER = Caller("acme", "tenant:acme", frozenset())


def read(values: dict[str, str]) -> CallMetadata:
    return CallMetadata.read("http", lambda name: values.get(name, ""))


def test_every_name_has_its_place() -> None:
    metadata = read(ALL)
    assert [metadata.request_id, metadata.session_id, metadata.tenant, metadata.trace] == [*ALL.values()][:4]
    assert [metadata.authorization, metadata.api_key] == [*ALL.values()][4:]


@given(st.text(max_size=140))
def test_a_request_always_has_a_name_that_it_may_have(named: str) -> None:
    request_id = read({"x-request-id": named}).request_id
    assert is_request_id(request_id)
    assert request_id == named or not is_request_id(named)


def test_a_request_becomes_its_calls_and_its_callers() -> None:
    request = read(ALL).applied(CodeRequest(prompt=TextPrompt("x")), CALLER)
    assert (request.request_id, request.session_id, request.trace) == ("mine", "cursor", "00-1-2-01")
    assert (request.tenant, request.owner, request.roles) == (CALLER.tenant, CALLER.owner, CALLER.roles)


@pytest.mark.parametrize("header", ["x-stainless-retry-count", "grpc-previous-rpc-attempts"])
@pytest.mark.parametrize(("count", "repeated"), [("", False), ("0", False), ("1", True), ("10", True)])
def test_a_request_that_its_client_sends_again_is_known_as_such(header: str, count: str, repeated: bool) -> None:
    assert read({header: count}).applied(CodeRequest(prompt=TextPrompt("x")), CALLER).repeated == repeated


async def test_what_grpc_itself_sends_again_is_known_as_such(backend: ScriptedBackend) -> None:
    """As the published client has it: a repetition must not end what was first sent after it."""
    backend.text, backend.error = "", ServingError(Reason.UNAVAILABLE, "Gone.")
    async with (
        grpc_server(one_model_service(backend)) as target,
        grpc.aio.insecure_channel(target, options=channel_options([])) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="x"))
    first, *again = [request.repeated for request in backend.requests]
    assert not first and again and all(again)


def test_a_session_that_a_message_names_stays() -> None:
    request = read(ALL).applied(CodeRequest(prompt=TextPrompt("x"), session_id="its own"), CALLER)
    assert request.session_id == "its own"


async def test_both_protocols_pass_it_on_alike(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    sent = {"x-session-id": "cursor", "x-tenant-id": "acme", "x-request-id": "mine"}
    await client.post("/v1/completions", json={"prompt": "x"}, headers=sent)
    async with grpc_server(one_model_service(backend)) as target, grpc.aio.insecure_channel(target) as channel:
        await CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="x"), metadata=tuple(sent.items()))
    over_http, over_grpc = backend.requests
    assert over_http.session_id == over_grpc.session_id == "11:tenant:acme/cursor"
    assert over_http.cache_domain == over_grpc.cache_domain
    assert all(request.request_id.startswith("mine-") for request in backend.requests)


@pytest.mark.parametrize("bad", ["two words", "x" * 129, "reason=ok", '"}'])
async def test_a_request_id_that_nobody_may_have_is_replaced_over_both(
    client: httpx.AsyncClient, backend: ScriptedBackend, bad: str
) -> None:
    answer: Any = await client.post("/v1/completions", json={"prompt": "x"}, headers={"x-request-id": bad})
    assert re.fullmatch("cmpl-[0-9a-f]{32}", answer.json()["id"])
    async with grpc_server(one_model_service(backend)) as target, grpc.aio.insecure_channel(target) as channel:
        metadata = (("x-request-id", bad),)
        call = CodeAssistServiceStub(channel).Complete(pb.CompleteRequest(prompt="x"), metadata=metadata)
        assert re.fullmatch("[0-9a-f]{32}", (await call).request_id)
        assert dict(await call.trailing_metadata())["x-request-id"] == (await call).request_id
