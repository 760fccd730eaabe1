"""The clients that people use: OpenAI's library, editors' plug-ins, the gRPC stubs, gRPC with reflection alone."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import httpx
import openai
import pytest
from codegemma.v1.code_assist_service_pb2 import (
    ChatRequest,
    CompleteRequest,
    CountTokensRequest,
    StreamChatRequest,
    StreamCompleteRequest,
)
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.feedback_service_pb2 import COMPLETION_EVENT_ACCEPTED, RecordEventRequest, RecordEventResponse
from codegemma.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from codegemma.v1.generation_pb2 import FinishReason, GenerationConfig
from codegemma.v1.model_service_pb2 import GetModelRequest, ListModelsRequest
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub
from codegemma.v1.prompt_pb2 import ChatMessage, FimInput
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.service.conftest import CHAT, FIM, Service

_PREFIX, _SUFFIX = "def add(a, b):\n    ", "\n\nprint(add(1, 2))\n"
_MESSAGES = [{"role": "user", "content": "What is a monad?"}]


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openai_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [FIM, CHAT]


def test_openai_completes_in_the_middle(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=FIM, prompt=_PREFIX, suffix=_SUFFIX, max_tokens=12, temperature=0)
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 12


def test_openai_streams_the_text_of_the_whole_answer(client: openai.OpenAI) -> None:
    request: Any = {"model": FIM, "prompt": _PREFIX, "suffix": _SUFFIX, "max_tokens": 24, "temperature": 0}
    whole = client.completions.create(**request)
    parts = [chunk.choices[0].text for chunk in client.completions.create(**request, stream=True) if chunk.choices]
    assert "".join(parts) == whole.choices[0].text
    assert len(parts) > 1


async def test_openai_async_streams_chat(async_client: openai.AsyncOpenAI) -> None:
    request: Any = {"model": CHAT, "messages": _MESSAGES, "max_tokens": 24, "temperature": 0}
    whole = await async_client.chat.completions.create(**request)
    stream = await async_client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True})
    text, usage = "", None
    async for chunk in stream:
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage is not None and whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_a_repeated_prompt_is_cached(client: openai.OpenAI) -> None:
    prompt = "\n".join(f"cached_{n} = {n}" for n in range(60))
    request: Any = {"model": FIM, "prompt": prompt, "suffix": "\n", "max_tokens": 4, "temperature": 0}
    first, second = client.completions.create(**request), client.completions.create(**request)
    assert second.choices[0].text == first.choices[0].text
    assert second.usage is not None and second.usage.prompt_tokens_details is not None
    assert second.usage.prompt_tokens_details.cached_tokens


def test_a_warm_up_of_llama_cpps_clients_leaves_other_files_in_the_cache(service: Service) -> None:
    """And generates nothing that a client would see."""
    chunk = {"filename": "warm.py", "text": "\n".join(f"warm_{n} = {n}" for n in range(60)), "time": 1}
    empty = {"input_prefix": "", "input_suffix": "", "prompt": "", "n_predict": 0, "t_max_predict_ms": 1}
    warm = httpx.post(f"{service.url}/infill", json={**empty, "input_extra": [chunk]}, timeout=60).json()
    at_cursor = {"input_prefix": "def add(a, b):\n", "prompt": "    ", "input_suffix": _SUFFIX, "n_predict": 4}
    asked = httpx.post(f"{service.url}/infill", json={**at_cursor, "input_extra": [chunk]}, timeout=60).json()
    assert (warm["content"], warm["timings"]["predicted_n"]) == ("", 0)
    assert asked["tokens_cached"] > warm["timings"]["prompt_n"] - 40  # all but the last page of 32, and what ends it
    assert 0 < asked["timings"]["predicted_n"] <= 4


def test_llama_cpps_clients_and_tabbys_get_the_text_that_openais_get(service: Service, client: openai.OpenAI) -> None:
    text = client.completions.create(model=FIM, prompt=_PREFIX, suffix=_SUFFIX, max_tokens=64).choices[0].text
    infill = {"input_prefix": _PREFIX, "input_suffix": _SUFFIX, "n_predict": 64, "model": ""}
    segments = {"segments": {"prefix": _PREFIX, "suffix": _SUFFIX}}
    assert httpx.post(f"{service.url}/infill", json=infill, timeout=60).json()["content"] == text
    tabbys = httpx.post(f"{service.url}/v1/completions", json=segments, timeout=60).json()
    assert tabbys["choices"] == [{"index": 0, "text": text}]
    event = {"type": "view", "completion_id": tabbys["id"], "choice_index": 0}
    assert httpx.post(f"{service.url}/v1/events", json=event).status_code == 200


def test_grpc_takes_in_what_became_of_any_answer(service: Service, channel: grpc.Channel) -> None:
    segments = {"segments": {"prefix": _PREFIX, "suffix": _SUFFIX}}
    tabbys = httpx.post(f"{service.url}/v1/completions", json=segments, timeout=60).json()
    answer = CodeAssistServiceStub(channel).Complete(CompleteRequest(fim=FimInput(prefix=_PREFIX, suffix=_SUFFIX)))
    for completion_id in (tabbys["id"], answer.completion_id):
        event = RecordEventRequest(completion_id=completion_id, event=COMPLETION_EVENT_ACCEPTED)
        assert FeedbackServiceStub(channel).RecordEvent(event) == RecordEventResponse()


def test_both_protocols_answer_the_same(client: openai.OpenAI, channel: grpc.Channel) -> None:
    by_http = client.completions.create(prompt=_PREFIX, suffix=_SUFFIX, model=FIM, max_tokens=16, seed=3, temperature=1)
    by_grpc = CodeAssistServiceStub(channel).Complete(
        CompleteRequest(
            fim=FimInput(prefix=_PREFIX, suffix=_SUFFIX),
            generation_config=GenerationConfig(max_tokens=16, seed=3, temperature=1),
        )
    )
    assert by_grpc.choices[0].text == by_http.choices[0].text
    assert by_http.usage is not None
    assert by_grpc.usage.completion_tokens == by_http.usage.completion_tokens


def test_grpc_streams_the_text_of_the_whole_answer(channel: grpc.Channel) -> None:
    stub = CodeAssistServiceStub(channel)
    fim, config = FimInput(prefix=_PREFIX, suffix=_SUFFIX), GenerationConfig(max_tokens=24)
    whole = stub.Complete(CompleteRequest(fim=fim, generation_config=config))
    parts = list(stub.StreamComplete(StreamCompleteRequest(fim=fim, generation_config=config)))
    assert "".join(part.choice.text for part in parts) == whole.choices[0].text
    assert whole.choices[0].finish_reason != FinishReason.FINISH_REASON_UNSPECIFIED
    assert parts[-1].usage == whole.usage or parts[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_grpc_chats(channel: grpc.Channel) -> None:
    stub = CodeAssistServiceStub(channel)
    messages = [ChatMessage(role=ChatMessage.ROLE_USER, text="What is a monad?")]
    config = GenerationConfig(max_tokens=16)
    whole = stub.Chat(ChatRequest(messages=messages, generation_config=config))
    parts = stub.StreamChat(StreamChatRequest(messages=messages, generation_config=config))
    streamed = "".join(part.choice.text for part in parts)
    assert whole.model == CHAT
    assert streamed == whole.choices[0].text


def test_grpc_counts_tokens_as_usage_does(channel: grpc.Channel) -> None:
    stub = CodeAssistServiceStub(channel)
    fim = FimInput(prefix=_PREFIX, suffix=_SUFFIX)
    answer = stub.Complete(CompleteRequest(fim=fim, generation_config=GenerationConfig(max_tokens=1)))
    assert stub.CountTokens(CountTokensRequest(fim=fim)).tokens == answer.usage.prompt_tokens


def test_grpc_describes_models(channel: grpc.Channel) -> None:
    stub = ModelServiceStub(channel)
    listed = stub.ListModels(ListModelsRequest()).models
    assert [model.id for model in listed] == [FIM, CHAT]
    assert stub.GetModel(GetModelRequest(model=FIM)).model == listed[0]


def health(channel: grpc.Channel, service: str = "") -> int:
    stub: Any = HealthStub(channel)
    status: int = stub.Check(HealthCheckRequest(service=service)).status
    return status


@pytest.mark.parametrize("name", ["", "codegemma.v1.CodeAssistService", "codegemma.v1.ModelService"])
def test_grpc_health_is_the_standard_one(channel: grpc.Channel, name: str) -> None:
    assert health(channel, name) == HealthCheckResponse.SERVING


def test_grpc_reflection_alone_is_enough_to_call(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"codegemma.v1.CodeAssistService", "codegemma.v1.ModelService", "grpc.health.v1.Health"} <= set(
        database.get_services()
    )
    pool = DescriptorPool(database)
    method = pool.FindServiceByName("codegemma.v1.CodeAssistService").FindMethodByName("Complete")
    request: Any = GetMessageClass(method.input_type)()
    request.fim.prefix, request.fim.suffix = _PREFIX, _SUFFIX
    request.generation_config.max_tokens = 4
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    answer: Any = call(request)
    assert answer.model == FIM


def test_a_request_gets_its_name_back_once(service: Service, channel: grpc.Channel) -> None:
    answer = httpx.get(f"{service.url}/v1/models", headers={"x-request-id": "mine"})
    _, call = ModelServiceStub(channel).ListModels.with_call(ListModelsRequest(), metadata=[("x-request-id", "mine")])
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert [value for key, value in call.trailing_metadata() if key == "x-request-id"] == ["mine"]


def test_both_protocols_say_that_the_service_is_ready(service: Service, channel: grpc.Channel) -> None:
    assert httpx.get(f"{service.url}/health").json() == {"status": "ok"}
    assert health(channel) == HealthCheckResponse.SERVING


def test_nothing_is_compiled_after_readiness(service: Service, client: openai.OpenAI) -> None:
    for max_tokens in (1, 7, 33):
        sampled: Any = {"max_tokens": max_tokens, "logprobs": 3, "n": 2, "temperature": 1}
        client.completions.create(model=FIM, prompt=_PREFIX * max_tokens, suffix=_SUFFIX, **sampled)
    assert [service.recompilations(model) for model in (FIM, CHAT)] == [0, 0]
