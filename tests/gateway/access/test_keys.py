"""Access by API key: the same over HTTP and gRPC, live, and without a word of why not."""

import grpc
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.feedback_service_pb2 import RecordEventRequest
from codegemma.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from codegemma.v1.model_service_pb2 import GetModelRequest, ListModelsRequest
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub
from codegemma.v1.prompt_pb2 import ChatMessage, FimInput
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from serving.config import Role
from tests.gateway.access.keys import CHAT, FIM, Keys
from tests.gateway.grpc_server import failure, grpc_server, health_stub

CALLS = [
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/both", None),
    ("POST", "/v1/completions", FIM),
    ("POST", "/v1/completions", FIM | {"stream": True}),
    ("POST", "/v1/completions", {"prompt": 3}),  # who has no key does not learn what is wrong with a body
    ("POST", "/v1/chat/completions", CHAT),
]


def refused_headers(keys: Keys) -> list[dict[str, str]]:
    key = keys.create()
    return [
        {},
        {"authorization": key},
        {"authorization": f"Basic {key}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {key}x"},
        {"x-api-key": key[:-1]},
    ]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_http_without_a_key_is_401_and_says_no_more(keys: Keys, method: str, path: str, body: object) -> None:
    answers = []
    for headers in refused_headers(keys):
        async with keys.http(headers) as client:
            answers.append(await client.request(method, path, json=body))
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    [text] = {answer.text for answer in answers}
    assert answers[0].json()["error"]["code"] == "unauthenticated"
    assert "cg_" not in text


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER  {} "])
async def test_http_takes_a_bearer_token_however_it_is_written(keys: Keys, header: str) -> None:
    async with keys.http({"authorization": header.format(keys.create())}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        assert (await client.post("/v1/completions", json=FIM)).status_code == 200


async def test_http_takes_the_key_as_x_api_key_too(keys: Keys) -> None:
    async with keys.http({"x-api-key": keys.create()}) as client:
        assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_health_needs_no_key_over_either_protocol(keys: Keys) -> None:
    async with keys.http({}) as client:
        assert (await client.get("/health")).status_code == 200
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        answer = await health_stub(channel).Check(HealthCheckRequest())
    assert answer.status == HealthCheckResponse.SERVING


async def test_grpc_without_a_key_is_unauthenticated_and_says_no_more(keys: Keys) -> None:
    said = set()
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        code, models = CodeAssistServiceStub(channel), ModelServiceStub(channel)
        for headers in refused_headers(keys):
            metadata = [(key, value) for key, value in headers.items() if value.strip() == value]
            for call in (
                code.Complete(pb.CompleteRequest(prompt="a"), metadata=metadata),
                code.StreamComplete(pb.StreamCompleteRequest(prompt="a"), metadata=metadata),
                code.Chat(pb.ChatRequest(), metadata=metadata),
                code.StreamChat(pb.StreamChatRequest(), metadata=metadata),
                code.CountTokens(pb.CountTokensRequest(), metadata=metadata),
                models.ListModels(ListModelsRequest(), metadata=metadata),
                models.GetModel(GetModelRequest(), metadata=metadata),
                FeedbackServiceStub(channel).RecordEvent(RecordEventRequest(), metadata=metadata),
            ):
                error, details = await failure(call)
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
                assert details[ErrorInfo].reason == "UNAUTHENTICATED"
                said.add(error.details())
    assert len(said) == 1


async def test_grpc_takes_the_key_in_either_metadata(keys: Keys) -> None:
    key = keys.create()
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        stub = CodeAssistServiceStub(channel)
        for metadata in ([("authorization", f"Bearer {key}")], [("x-api-key", key)]):
            answer = await stub.Complete(pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b")), metadata=metadata)
            assert answer.choices[0].text == "return 1"


async def test_a_key_works_from_when_it_is_made_until_it_is_revoked(keys: Keys) -> None:
    other = keys.create()
    key = keys.create()
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        keys.revoke_all()
        assert (await client.get("/v1/models")).status_code == 401
    async with keys.http({"authorization": f"Bearer {other}"}) as client:
        assert (await client.get("/v1/models")).status_code == 401


async def test_a_key_for_completion_is_refused_chat(keys: Keys) -> None:
    key = keys.create("", Role.FIM)
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.post("/v1/completions", json=FIM)).status_code == 200
        answer = await client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "permission_denied"
    assert "chat" in answer.json()["error"]["message"]
    message = ChatMessage(role=ChatMessage.ROLE_USER, text="Hi")
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        error, _ = await failure(
            CodeAssistServiceStub(channel).Chat(pb.ChatRequest(messages=[message]), metadata=[("x-api-key", key)])
        )
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_text_goes_to_a_role_that_the_key_may_use(keys: Keys) -> None:
    """Text to continue is for the FIM model, but a chat model can do it too."""
    for role in Role:
        async with keys.http({"x-api-key": keys.create("", role)}) as client:
            assert (await client.post("/v1/completions", json={"prompt": "a"})).status_code == 200
