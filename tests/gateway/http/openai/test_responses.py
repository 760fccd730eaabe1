"""`/v1/responses`: text, whole and streamed, and nothing that would need state."""

import json
from typing import Any

import httpx
import openai
import pytest

from serving.engine.request import FinishReason, GenerationChunk
from serving.errors import Reason, ServingError
from tests.gateway.scripted_backend import ScriptedBackend

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


async def respond(client: httpx.AsyncClient, body: dict[str, Any]) -> Any:
    response = await client.post("/v1/responses", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_openais_client_reads_a_response(openai_client: openai.AsyncOpenAI) -> None:
    response = await openai_client.responses.create(model="default", input="Hi", metadata={"a": "b"})
    assert (response.output_text, response.status, response.metadata) == ("return 1\n", "completed", {"a": "b"})
    assert response.usage
    assert (response.usage.output_tokens, response.model) == (4, "codegemma-test")


async def test_openais_client_reads_a_stream(openai_client: openai.AsyncOpenAI) -> None:
    async with openai_client.responses.stream(model="default", input="Hi") as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == "return 1\n"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "return 1\n"
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


async def test_events_are_numbered_and_named(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/responses", json={"input": "Hi", "stream": True})
    records = [record.split("\n") for record in response.text.removesuffix("\n\n").split("\n\n")]
    data = [json.loads(line.removeprefix("data: ")) for _, line in records]
    assert [name for name, _ in records] == [f"event: {item['type']}" for item in data]
    assert [item["sequence_number"] for item in data] == list(range(len(data)))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_was_cut_is_incomplete(openai_client: openai.AsyncOpenAI, stream: bool) -> None:
    asked: dict[str, Any] = {"model": "default", "input": "Hi", "max_output_tokens": 2}
    if stream:
        async for event in await openai_client.responses.create(**asked, stream=True):
            response = getattr(event, "response", None)
    else:
        response = await openai_client.responses.create(**asked)
    assert response
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output_text == "return 1"[: len(response.output_text)]


async def test_a_failure_in_a_stream_is_the_clients_own_exception(
    openai_client: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    backend.error = ServingError(Reason.UNAVAILABLE, "Lost.")
    with pytest.raises(openai.APIError, match=r"Lost\."):
        async for _ in await openai_client.responses.create(model="default", input="Hi", stream=True):
            pass


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"input": "Hi"}, "user\nHi\nmodel\n"),
        ({"input": "Hi", "instructions": "Be brief."}, "user\nBe brief.\n\nHi\nmodel\n"),
        (
            {
                "input": [
                    {"role": "developer", "content": "D"},
                    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                    {"type": "reasoning", "id": "r", "summary": []},
                    {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "a", "output": "1"},
                    {"role": "assistant", "content": [{"type": "output_text", "text": "One."}]},
                    {"role": "user", "content": "Bye"},
                ]
            },
            "user\nD\n\nHi\nmodel\nf({})\nuser\n1\nmodel\nOne.\nuser\nBye\nmodel\n",
        ),
        ({"input": "Hi", "tools": [TOOL], "tool_choice": "auto", "store": True}, "user\nHi\nmodel\n"),
        ({"input": "Hi", "text": {"format": {"type": "text"}}, "include": []}, "user\nHi\nmodel\n"),
    ],
)
async def test_items_are_turns(
    client: httpx.AsyncClient, backend: ScriptedBackend, fields: dict[str, Any], seen: str
) -> None:
    await respond(client, fields)
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids) == seen


@pytest.mark.parametrize(
    ("fields", "code", "name"),
    [
        ({"previous_response_id": "resp_1"}, "unsupported_parameter", "previous_response_id"),
        ({"conversation": "c"}, "unsupported_parameter", "conversation"),
        ({"background": True}, "unsupported_parameter", "background"),
        ({"truncation": "auto"}, "unsupported_parameter", "truncation"),
        ({"text": {"format": {"type": "json_schema"}}}, "unsupported_parameter", "text.format"),
        ({"text": "json"}, "unsupported_parameter", "text"),
        ({"tools": [TOOL], "tool_choice": "required"}, "unsupported_parameter", "tool_choice"),
        ({"input": None}, "invalid_argument", "input"),
        ({"input": []}, "invalid_argument", "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "invalid_argument", "input"),
        ({"input": [{"role": "user"}]}, "invalid_argument", "input[0].content"),
        ({"input": " a" * 600}, "context_length_exceeded", "input"),
        ({"max_output_tokens": -5}, "invalid_argument", "max_output_tokens"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    client: httpx.AsyncClient, backend: ScriptedBackend, fields: dict[str, Any], code: str, name: str
) -> None:
    response = await client.post("/v1/responses", json={"input": "Hi"} | fields)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, name)
    assert not backend.requests


async def test_a_late_answer_is_an_error(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.end = GenerationChunk(finish_reason=FinishReason.DEADLINE)
    assert (await client.post("/v1/responses", json={"input": "Hi"})).status_code == 504
