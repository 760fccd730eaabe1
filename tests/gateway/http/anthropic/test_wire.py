"""Anthropic's Messages API as JSON on the wire."""

import json
from typing import Any

import httpx
import pytest

from serving.engine.request import FinishReason, GenerationChunk
from serving.errors import Reason, ServingError
from serving.gateway.http.anthropic.answers import MessageEvents
from tests.gateway.scripted_backend import ScriptedBackend

PATH = "/v1/messages"
BODY = {"model": "default", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}


def events(response: httpx.Response) -> list[Any]:
    """The data of a stream's events, each named by its type."""
    assert response.headers["content-type"].startswith("text/event-stream")
    *records, end = response.text.split("\n\n")
    assert end == ""
    found = []
    for record in records:
        name, data = record.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


async def test_an_answer_is_a_message(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.end = GenerationChunk(finish_reason=FinishReason.STOP, cached_tokens=2)
    response = await client.post(PATH, json=BODY, headers={"x-request-id": "abc"})
    assert response.json() == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "codegemma-test",
        "content": [{"type": "text", "text": "return 1\n"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": len(backend.requests[0].prompt_ids) - 2,
            "cache_read_input_tokens": 2,
            "cache_creation_input_tokens": 0,
            "output_tokens": 4,
        },
    }
    assert (await client.post(PATH, json={**BODY, "max_tokens": 2})).json()["stop_reason"] == "max_tokens"


async def test_a_stream_has_anthropics_events_in_their_order(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    found = events(await client.post(PATH, json={**BODY, "stream": True}))
    start, block_start, *deltas, block_stop, delta, stop = found
    assert [event["type"] for event in (start, block_start, block_stop, delta, stop)] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert (start["message"]["content"], start["message"]["stop_reason"]) == ([], None)
    assert {each["delta"]["type"] for each in deltas} == {"text_delta"}
    assert "".join(each["delta"]["text"] for each in deltas) == "return 1\n"
    assert delta["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert delta["usage"]["input_tokens"] == len(backend.requests[0].prompt_ids)


async def test_an_empty_answer_has_a_block_too(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.text = ""
    found = [event["type"] for event in events(await client.post(PATH, json={**BODY, "stream": True}))]
    assert found == ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]


async def test_a_conversation_is_text_or_blocks_of_text_and_tools(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "42"}]}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "B"}, call]},
        {"role": "user", "content": [result]},
    ]
    for system in ("S", [{"type": "text", "text": "S"}]):
        await client.post(PATH, json={**BODY, "messages": messages, "system": system, "tools": [{"name": "f"}]})
        text = backend.tokenizer.decode(backend.requests[-1].prompt_ids)
        assert text == 'user\nS\n\nA\nmodel\nB\n\nf({"a":1})\nuser\n42\nmodel\n'


async def test_fields_reach_the_backend(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    asked = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "metadata": {"user_id": "x"}, "thinking": None}
    await client.post(PATH, json={**BODY, **asked})
    [request] = backend.requests
    found = request.sampling
    assert (request.max_tokens, found.temperature, found.top_p, found.top_k) == (8, 0.5, 0.9, 5)
    await client.post(PATH, json=BODY)
    assert backend.requests[1].sampling.temperature == 1.0


async def test_a_stop_sequence_ends_an_answer(client: httpx.AsyncClient) -> None:
    body = (await client.post(PATH, json={**BODY, "stop_sequences": ["1"]})).json()
    assert body["content"][0]["text"] == "return "
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "1")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tool_choice": {"type": "any"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.type"),
        ({"thinking": True}, "thinking"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config"),
    ],
)
async def test_what_would_change_the_answer_and_is_not_supported_is_refused_by_name(
    client: httpx.AsyncClient, backend: ScriptedBackend, fields: dict[str, object], named: str
) -> None:
    response = await client.post(PATH, json={**BODY, **fields})
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith(f"{named} ")
    assert not backend.requests


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"name": "f"}], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tool_choice": {"type": "none"}, "thinking": {"type": "disabled"}, "mcp_servers": []},
    ],
)
async def test_tools_that_need_not_be_called_are_answered_with_text(
    client: httpx.AsyncClient, fields: dict[str, object]
) -> None:
    assert (await client.post(PATH, json={**BODY, **fields})).json()["content"][0]["text"] == "return 1\n"


async def test_tokens_of_a_conversation_are_counted(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    asked = {"model": "default", "messages": BODY["messages"], "system": "S"}
    counted = (await client.post(f"{PATH}/count_tokens", json=asked)).json()
    assert not backend.requests
    answer = (await client.post(PATH, json={**asked, "max_tokens": 1})).json()
    assert counted == {"input_tokens": answer["usage"]["input_tokens"]}


async def test_errors_are_anthropics(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    response = await client.post(PATH, json={**BODY, "model": "claude"})
    assert response.status_code == 404
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == "not_found_error"
    missing = (await client.post(PATH, json={"messages": BODY["messages"]})).json()["error"]
    assert missing == {"type": "invalid_request_error", "message": "max_tokens is required."}
    backend.error = ServingError(Reason.UNAVAILABLE, "Gone.")
    *_, last = events(await client.post(PATH, json={**BODY, "stream": True}))
    assert last == {"type": "error", "error": {"type": "overloaded_error", "message": "Gone."}}


def test_the_sign_of_life_of_a_stream_is_a_ping() -> None:
    assert MessageEvents("msg_abc").framing.sign_of_life == b'event: ping\ndata: {"type":"ping"}\n\n'
