"""Client and AsyncClient against a real server: the same questions, answers and errors."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from codegemma.client import (
    AbortedError,
    ApiError,
    AsyncClient,
    ChatMessage,
    Client,
    CompletionEvent,
    ContextFile,
    DeadlineExceededError,
    FimInput,
    FinishReason,
    GenerationConfig,
    InvalidArgumentError,
    Model,
    NotFoundError,
    PostProcessing,
    TokenIds,
    UnavailableError,
)
from codegemma.v1.model_service_pb2 import ListModelsResponse

from serving.errors import WIRE_ERRORS, Reason, ServingError
from serving.gateway.request import ChatPrompt, FimPrompt, Message, Speaker, TextPrompt
from serving.servers.grpc_server import harden
from tests.client.conftest import Server, Service

FIM = FimInput(prefix="def f(x): ", suffix="\n", path="a.py", context_files=[ContextFile(path="b.py", text="b = 1")])
QUESTION = [
    ChatMessage(role=ChatMessage.ROLE_SYSTEM, text="Be brief."),
    ChatMessage(role=ChatMessage.ROLE_USER, text="Hi"),
]


class Caller:
    """Calls either client in the same words, and takes a stream to its end."""

    def __init__(self, kind: str, target: str, **settings: Any) -> None:
        self._kind, self._target, self._settings = kind, target, settings

    def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        if self._kind == "async":
            return asyncio.run(self._call_async(method, *args, **options))
        with Client(self._target, **self._settings) as client:
            answer = getattr(client, method)(*args, **options)
            return list(answer) if isinstance(answer, Iterator) else answer

    async def _call_async(self, method: str, *args: Any, **options: Any) -> Any:
        async with AsyncClient(self._target, **self._settings) as client:
            answer = getattr(client, method)(*args, **options)
            if isinstance(answer, AsyncIterator):
                return [part async for part in answer]
            return await answer


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, server: Server) -> Caller:
    return Caller(request.param, server.target)


def test_complete_sends_the_place_and_every_option(call: Caller, service: Service) -> None:
    answer = call(
        "complete",
        FIM,
        model="fim",
        generation_config=GenerationConfig(max_tokens=20, temperature=0.5, seed=7),
        session_id="file-1",
        request_id="req-1",
        timeout=25.5,
    )
    assert (answer.choices[0].text, answer.model, answer.request_id) == ("return 1", "fim-model", "req-1")
    [asked] = service.asked
    assert isinstance(asked.prompt, FimPrompt)
    assert (asked.prompt.prefix, asked.prompt.suffix, asked.prompt.path) == ("def f(x): ", "\n", "a.py")
    assert [(file.path, file.text) for file in asked.prompt.context_files] == [("b.py", "b = 1")]
    assert (asked.max_tokens, asked.sampling.temperature, asked.sampling.seed) == (20, 0.5, 7)
    assert (asked.session_id, asked.timeout_s) == ("file-1", 25.5)


def test_complete_sends_what_is_for_completions_alone(call: Caller, service: Service) -> None:
    for method in ("complete", "stream_complete"):
        call(method, FIM, time_budget=0.25, post_processing=PostProcessing(single_line=True, file_style=False))
    for asked in service.asked:
        assert asked.predict_s == 0.25
        assert (asked.post_processing.single_line, asked.post_processing.file_style) == (True, False)
        assert asked.post_processing.end_of_block


def test_what_became_of_an_answer_is_reported(call: Caller) -> None:
    last = call("stream_complete", FIM)[-1]
    for event in (CompletionEvent.COMPLETION_EVENT_SHOWN, CompletionEvent.COMPLETION_EVENT_PARTLY_ACCEPTED):
        assert call("record_event", last.completion_id, event, accepted_characters=3) is None
    with pytest.raises(InvalidArgumentError) as raised:
        call("record_event", "else", CompletionEvent.COMPLETION_EVENT_SHOWN)
    assert raised.value.field == "completion_id"


def test_a_text_and_token_ids_are_continued(call: Caller, service: Service) -> None:
    assert call("complete", "x = ").choices[0].text == "return 1"
    assert call("complete", TokenIds(ids=[5, 6])).choices[0].text == "return 1"
    assert isinstance(service.asked[0].prompt, TextPrompt)
    assert service.backend.requests[1].prompt_ids == (5, 6)


def test_a_stream_gives_the_same_text_in_parts_and_says_how_it_ended(call: Caller, service: Service) -> None:
    service.backend.text = "one two three"
    parts = call("stream_complete", FIM, generation_config=GenerationConfig(max_tokens=2))
    assert "".join(part.choice.text for part in parts) == "one two"
    assert parts[-1].choice.finish_reason == FinishReason.FINISH_REASON_LENGTH
    assert parts[-1].usage.completion_tokens == 2


@pytest.mark.parametrize("method", ["chat", "stream_chat"])
def test_chat_sends_the_conversation(call: Caller, service: Service, method: str) -> None:
    answer = call(method, QUESTION)
    text = answer.choices[0].text if method == "chat" else "".join(part.choice.text for part in answer)
    assert text == "return 1"
    assert service.asked[0].prompt == ChatPrompt((Message(Speaker.SYSTEM, "Be brief."), Message(Speaker.USER, "Hi")))


def test_tokens_of_every_kind_of_prompt_are_counted(call: Caller) -> None:
    assert call("count_tokens", TokenIds(ids=[5, 6])).tokens == 2
    fim, raw = call("count_tokens", FimInput(prefix="a")), call("count_tokens", "a")
    assert (fim.tokens - raw.tokens, fim.model) == (3, "fim-model")
    assert call("count_tokens", QUESTION, model="chat-model").model == "chat-model"


def test_models_are_listed(call: Caller) -> None:
    assert [(model.id, list(model.aliases)) for model in call("models")] == [
        ("fim-model", ["fim"]),
        ("chat-model", []),
    ]


@pytest.mark.parametrize("method", ["complete", "stream_complete"])
def test_an_error_has_reason_field_and_request_id(call: Caller, method: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        call(method, FIM, generation_config=GenerationConfig(temperature=-1), request_id="req-2")
    error = raised.value
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert (error.field, error.retry_delay, error.request_id) == ("generation_config.temperature", None, "req-2")
    assert "temperature" in str(error)


def test_a_model_that_is_not_there_is_an_error_of_its_own(call: Caller) -> None:
    with pytest.raises(NotFoundError, match="gpt-4") as raised:
        call("chat", QUESTION, model="gpt-4")
    assert raised.value.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_the_server_reaches_the_caller_as_an_error_of_its_code(
    call: Caller, service: Service, reason: Reason
) -> None:
    service.failures = [ServingError(reason, "no", retry_after_s=2.5)] * 4
    with pytest.raises(ApiError, match="no") as raised:
        call("complete", FIM)
    error = raised.value
    assert type(error) is not ApiError
    assert (error.reason, error.code) == (reason.name, WIRE_ERRORS[reason].grpc_code)
    assert error.retry_delay == (2.5 if WIRE_ERRORS[reason].retryable else None)


def test_what_is_unavailable_is_tried_again(call: Caller, service: Service) -> None:
    service.failures = [ServingError(Reason.UNAVAILABLE, "the group was lost")] * 2
    assert call("complete", FIM).choices[0].text == "return 1"
    assert len(service.asked) == 3


def test_it_gives_up_after_four_tries(call: Caller, service: Service) -> None:
    service.failures = [ServingError(Reason.UNAVAILABLE, "the group was lost")] * 5
    with pytest.raises(UnavailableError, match="the group was lost"):
        call("complete", FIM)
    assert len(service.asked) == 4


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.SUPERSEDED, Reason.DEADLINE_EXCEEDED, Reason.INTERNAL])
def test_nothing_else_is_tried_again(call: Caller, service: Service, reason: Reason) -> None:
    service.failures = [ServingError(reason, "no")]
    with pytest.raises(ApiError):
        call("complete", FIM)
    assert len(service.asked) == 1


def test_a_stream_that_has_begun_is_not_tried_again(call: Caller, service: Service) -> None:
    service.backend.error = ServingError(Reason.UNAVAILABLE, "the group was lost")
    with pytest.raises(UnavailableError):
        call("stream_complete", FIM)
    assert len(service.asked) == 1


@pytest.mark.parametrize("method", ["complete", "stream_complete"])
def test_a_deadline_ends_the_call_and_the_work(call: Caller, service: Service, server: Server, method: str) -> None:
    service.backend.pause_at = 0
    with pytest.raises(DeadlineExceededError):
        call(method, FIM, timeout=0.2)
    server.wait_for(service.backend.idle)


def test_a_server_that_is_not_there_is_unavailable(request: pytest.FixtureRequest) -> None:
    for kind in ("sync", "async"):
        with pytest.raises(UnavailableError) as raised:
            Caller(kind, "127.0.0.1:1")("models")
        assert (raised.value.reason, raised.value.request_id) == ("", "")


def test_a_newer_request_of_the_session_ends_the_older_one_with_its_own_error(server: Server, service: Service) -> None:
    service.failures = [ServingError(Reason.SUPERSEDED, "a newer request came")]
    with Client(server.target) as client, pytest.raises(AbortedError):
        client.complete(FIM, session_id="file")


def test_the_clients_have_the_same_methods_with_the_same_parameters() -> None:
    def methods(client: type) -> dict[str, list[str]]:
        public = {name for name in vars(client) if not name.startswith("_") or name == "__init__"}
        return {name: list(inspect.signature(getattr(client, name)).parameters) for name in public}

    assert methods(Client) == methods(AsyncClient)


def test_the_client_imports_grpc_and_protobuf_and_nothing_of_the_service() -> None:
    code = (
        "import sys, codegemma.client\n"
        "print({'serving', 'sharding', 'ray', 'jax', 'numpy', 'pydantic', 'starlette'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


async def test_a_method_that_sets_ok_itself_has_not_failed() -> None:
    """As Ray Serve does for every call that went well."""

    async def list_models(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        context.set_code(grpc.StatusCode.OK)
        return ListModelsResponse(models=[Model(id="m")]).SerializeToString()

    harden()
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "ListModels": grpc.unary_unary_rpc_method_handler(list_models)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("codegemma.v1.ModelService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        assert [model.id for model in await client.models(timeout=10)] == ["m"]
    await server.stop(grace=None)
