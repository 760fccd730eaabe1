"""Mistral's fill-in-the-middle as JSON on the wire, and DeepSeek's, which editors ask beside it."""

import httpx
import pytest

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from tests.gateway.http.event_stream import events
from tests.gateway.scripted_backend import ScriptedBackend, served_model

BOS, PREFIX, MIDDLE, SUFFIX = 2, 67, 68, 69
PATH = "/v1/fim/completions"
EDITORS_STOPS = ["/src/", "#- coding: utf-8", "```"]


async def test_an_answer_is_a_chat_completion(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    asked = {"model": "default", "prompt": "a = ", "suffix": "\n", "max_tokens": 8, "temperature": 0.0}
    body = (await client.post(PATH, json=asked, headers={"x-request-id": "abc"})).json()
    encode = backend.tokenizer.encode
    assert backend.requests[0].prompt_ids == (BOS, PREFIX, *encode("a = "), SUFFIX, *encode("\n"), MIDDLE)
    assert isinstance(body.pop("created"), int)
    prompt = len(backend.requests[0].prompt_ids)
    message = {"role": "assistant", "content": "return 1\n", "tool_calls": None}
    assert body == {
        "id": "fim-abc",
        "object": "chat.completion",
        "model": "codegemma-test",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": 4,
            "total_tokens": prompt + 4,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


async def test_a_stream_has_a_choice_in_each_event_and_the_usage_in_the_last(client: httpx.AsyncClient) -> None:
    asked = {"prompt": "def f", "suffix": "\n", "max_tokens": 2, "stop": EDITORS_STOPS, "stream": True}
    *pieces, done = events(await client.post(PATH, json=asked, headers={"x-api-key": "none"}))
    assert done == "[DONE]"
    choices = [piece["choices"][0] for piece in pieces]
    assert "".join(choice["delta"]["content"] for choice in choices) == "return "
    assert [choice["delta"].get("role") for choice in choices] == ["assistant"] + [None] * (len(choices) - 1)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["length"]
    assert ["usage" in piece for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}


@pytest.mark.parametrize("suffix", [{}, {"suffix": None}, {"suffix": ""}])
async def test_without_a_suffix_the_cursor_is_at_the_end(
    client: httpx.AsyncClient, backend: ScriptedBackend, suffix: dict[str, object]
) -> None:
    assert (await client.post(PATH, json={"prompt": "a", **suffix})).status_code == 200
    assert backend.requests[0].prompt_ids == (BOS, PREFIX, *backend.tokenizer.encode("a"), SUFFIX, MIDDLE)


async def test_fields_reach_the_backend(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    asked = {"max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "random_seed": 7, "min_tokens": 0, "metadata": {"a": 1}}
    await client.post(PATH, json={"prompt": "a", **asked})
    [request] = backend.requests
    found = request.sampling
    assert (request.max_tokens, found.temperature, found.top_p, found.seed) == (5, 0.5, 0.9, 7)


@pytest.mark.parametrize("stop", ["1", ["1", ""]])
async def test_a_stop_text_ends_an_answer(client: httpx.AsyncClient, stop: object) -> None:
    body = (await client.post(PATH, json={"prompt": "a", "stop": stop})).json()
    assert body["choices"][0]["message"]["content"] == "return "


@pytest.mark.parametrize("field", [{"min_tokens": 3}, {"n": 2}])
async def test_what_would_change_the_answer_and_is_not_supported_is_refused_by_name(
    client: httpx.AsyncClient, backend: ScriptedBackend, field: dict[str, object]
) -> None:
    [name] = field
    response = await client.post(PATH, json={"prompt": "a", **field})
    assert (response.status_code, response.json()["param"]) == (400, name)
    assert not backend.requests


async def test_errors_are_mistrals(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    response = await client.post(PATH, json={"prompt": "a", "random_seed": "x"})
    error = response.json()
    assert (response.status_code, error.pop("message")[:14]) == (400, "random_seed is")
    assert error == {"object": "error", "type": "invalid_argument", "param": "random_seed", "code": "400"}
    assert (await client.post(PATH, json={"prompt": ""})).json()["param"] == "prompt"
    assert (await client.post(PATH, json={"prompt": "a", "model": "codestral"})).status_code == 404
    backend.error = ServingError(Reason.UNAVAILABLE, "Gone.")
    assert events(await client.post(PATH, json={"prompt": "a", "stream": True}))[-1]["message"] == "Gone."


async def test_a_model_that_only_chats_is_refused(backend: ScriptedBackend) -> None:
    service = CodeService([served_model(backend, "chatty", Role.CHAT)], GatewayConfig(), access=OpenAccess())
    app = build_http_app(lambda: service, GatewayConfig())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        response = await client.post(PATH, json={"model": "chatty", "prompt": "a", "suffix": "b"})
    assert (response.status_code, response.json()["type"]) == (400, "role_not_served")


@pytest.mark.parametrize("path", ["/beta/completions", "/v1/beta/completions"])
async def test_deepseeks_path_answers_as_openais_completions(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str
) -> None:
    asked = {"prompt": "def f", "suffix": "\n", "max_tokens": 8, "stop": EDITORS_STOPS, "stream": True}
    *pieces, _ = events(await client.post(path, json=asked))
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == "return 1\n"
    assert MIDDLE in backend.requests[0].prompt_ids
