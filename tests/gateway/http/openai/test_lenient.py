"""What clients send that they cannot change: plain meanings are taken, whatever form they have."""

import gzip
import json
from typing import Any

import httpx
import pytest

from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "read_file", "parameters": {"type": "object"}}}
CALL = {"id": "a", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "m.py"}'}}


async def completion(client: httpx.AsyncClient, **fields: Any) -> Any:
    response = await client.post("/v1/completions", json={"prompt": "x"} | fields)
    assert response.status_code == 200, response.text
    return response.json()


async def chat(client: httpx.AsyncClient, *messages: dict[str, Any], **fields: Any) -> Any:
    response = await client.post("/v1/chat/completions", json={"messages": messages or [USER]} | fields)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("fields", "name", "taken"),
    [
        ({"seed": 2**40 + 7}, "seed", 7),
        ({"seed": -1}, "seed", 2**32 - 1),
        ({"seed": 7.0}, "seed", 7),
        ({"top_p": 0}, "top_p", 0.0),
        ({"top_p": 1.5}, "top_p", 1.0),
        ({"top_k": -1}, "top_k", 0),
        ({"top_k": 10**9}, "top_k", 0),
        ({"top_k": 40.0}, "top_k", 40),
        ({"temperature": False}, "temperature", 0.0),
        ({"logprobs": False}, "logprobs", None),
        ({"logprobs": 2.0}, "logprobs", 2),
    ],
)
async def test_numbers_beyond_the_range_whose_meaning_is_plain(
    client: httpx.AsyncClient, backend: ScriptedBackend, fields: dict[str, object], name: str, taken: object
) -> None:
    await completion(client, **fields)
    assert getattr(backend.requests[0].sampling, name) == taken


ROOM = MAX_CONTEXT - 2  # beside BOS and a token


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"max_tokens": 32_000}, ROOM),
        ({"max_tokens": 10**30}, ROOM),
        ({"max_tokens": -1}, MAX_CONTEXT // 4),
        ({"max_tokens": None}, MAX_CONTEXT // 4),
        ({"max_tokens": False}, MAX_CONTEXT // 4),
        ({"max_tokens": 4.0}, 4),
        ({"max_completion_tokens": 3}, 3),
        ({"max_tokens": 9, "max_completion_tokens": 3}, 3),
    ],
)
async def test_max_tokens_of_a_completion(
    client: httpx.AsyncClient, backend: ScriptedBackend, fields: dict[str, object], taken: int
) -> None:
    await completion(client, **fields)
    assert backend.requests[0].max_tokens == taken


@pytest.mark.parametrize("fields", [{}, {"max_tokens": -1}, {"max_completion_tokens": None}, {"max_tokens": 32_000}])
async def test_a_chat_may_be_as_long_as_the_context_allows(
    client: httpx.AsyncClient, backend: ScriptedBackend, fields: dict[str, object]
) -> None:
    await chat(client, **fields)
    [request] = backend.requests
    assert request.max_tokens == MAX_CONTEXT - len(request.prompt_ids)


async def test_stops_may_be_many_and_empty_ones_stop_nothing(client: httpx.AsyncClient) -> None:
    stops = ["", *(f"s{number}" for number in range(62)), " 1"]
    assert (await completion(client, stop=stops))["choices"][0]["text"] == "return"
    for nothing in ("", [""], [], False, None):
        assert (await completion(client, stop=nothing))["choices"][0]["text"] == "return 1\n"


async def test_stop_token_ids_are_obeyed(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    await completion(client, stop_token_ids=[5, 6.0, 2**40])
    assert backend.requests[0].stop_ids - backend.tokenizer.terminator_ids == {5, 6}


async def test_several_choices_without_a_temperature_are_drawn_and_one_is_greedy(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    await chat(client, n=3)
    await chat(client)
    await chat(client, n=2, temperature=0)
    temperatures = [request.sampling.temperature for request in backend.requests]
    assert temperatures == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert len({request.sampling.seed for request in backend.requests[:3]}) == 3


@pytest.mark.parametrize(
    ("messages", "seen"),
    [
        ([USER, USER], "user\nHi\n\nHi\nmodel\n"),
        ([{"role": "assistant", "content": "Hello!"}, USER], "model\nHello!\nuser\nHi\nmodel\n"),
        ([USER, {"role": "assistant", "content": "Sure, "}], "user\nHi\nmodel\nSure, "),
        (
            [USER, {"role": "assistant", "content": "b"}, {"role": "system", "content": "S"}, USER],
            "user\nHi\nmodel\nb\nuser\nS\n\nHi\nmodel\n",
        ),
        (
            [
                USER,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "a", "content": "A = 1"},
            ],
            'user\nHi\nmodel\nread_file({"path": "m.py"})\nuser\nA = 1\nmodel\n',
        ),
        (
            [USER, {"role": "assistant", "function_call": CALL["function"]}, {"role": "function", "content": "A"}],
            'user\nHi\nmodel\nread_file({"path": "m.py"})\nuser\nA\nmodel\n',
        ),
        ([USER, {"role": "assistant", "content": None}, USER], "user\nHi\nmodel\n\nuser\nHi\nmodel\n"),
        ([{"role": "user", "content": ["a", {"type": "text", "text": "b"}]}], "user\nab\nmodel\n"),
        ([USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, USER],
         "user\nHi\nmodel\nNo.\nuser\nHi\nmodel\n"),
    ],
)  # fmt: skip
async def test_a_conversation_in_any_order_and_with_calls_of_tools(
    client: httpx.AsyncClient, backend: ScriptedBackend, messages: list[dict[str, Any]], seen: str
) -> None:
    await chat(client, *messages)
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids) == seen


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True},
        {"tools": [TOOL], "tool_choice": "none"},
        {"functions": [TOOL["function"]], "function_call": "auto"},
    ],
)
async def test_tools_that_nobody_requires_are_answered_as_text(
    client: httpx.AsyncClient, fields: dict[str, object]
) -> None:
    assert (await chat(client, **fields))["choices"][0]["message"]["content"] == "return 1\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"min_p": 0.0},
        {"logit_bias": {"5": 0}},
        {"presence_penalty": 0, "frequency_penalty": False, "repetition_penalty": 1.0},
        {"best_of": 2, "n": 2},
        {"best_of": 1},
        {"response_format": {"type": "text"}},
        {"tools": False, "guided_json": None, "echo": False, "suffix": False, "ignore_eos": False},
        {"user": 5, "safety_identifier": "x", "service_tier": "auto", "top_logprobs": 0},
    ],
)
async def test_values_that_change_nothing_are_taken(client: httpx.AsyncClient, fields: dict[str, object]) -> None:
    await completion(client, **fields)
    await chat(client, **fields)


HALF = "�"


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        (rb'{"prompt": "x = \ud83d"}', f"x = {HALF}"),
        (rb'{"prompt": "\udE00x"}', f"{HALF}x"),
        (rb'{"prompt": "\ud83d\ud83d\ude00\ude00"}', f"{HALF}😀{HALF}"),
        (rb'{"prompt": "\\ud83d \\\ud83d"}', f"\\ud83d \\{HALF}"),
        (b'\xef\xbb\xbf{"prompt": "x"}', "x"),
    ],
)
async def test_half_a_character_and_a_byte_order_mark(
    client: httpx.AsyncClient, backend: ScriptedBackend, body: bytes, prompt: str
) -> None:
    assert (await client.post("/v1/completions", content=body)).status_code == 200
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids) == prompt


async def test_half_a_character_in_a_suffix_and_in_messages(client: httpx.AsyncClient) -> None:
    suffix = await client.post("/v1/completions", content=rb'{"prompt": "a", "suffix": "\ud83d"}')
    messages = rb'{"messages": [{"role": "user", "content": "\ude00"}]}'
    assert (suffix.status_code, (await client.post("/v1/chat/completions", content=messages)).status_code) == (200, 200)


async def test_a_packed_body_is_unpacked(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    body = gzip.compress(json.dumps({"prompt": "def f"}).encode())
    response = await client.post("/v1/completions", content=body, headers={"content-encoding": "gzip"})
    assert response.status_code == 200
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids) == "def f"


async def test_characters_of_several_tokens_have_one_offset_and_all_their_alternatives(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.text = 'a = "\U00013000 \U00013000"'  # hieroglyphs, of four byte tokens each
    [choice] = (await completion(client, logprobs=3))["choices"]
    logprobs = choice["logprobs"]
    assert choice["text"] == backend.text
    assert all(len(top) == 3 for top in logprobs["top_logprobs"])
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        if token.startswith("bytes:"):
            assert choice["text"][offset] == "\U00013000"
        else:
            assert choice["text"][offset:].startswith(token)
    assert [token for token in logprobs["tokens"] if token.startswith("bytes:")][:4] == [
        "bytes:\\xf0",
        "bytes:\\x93",
        "bytes:\\x80",
        "bytes:\\x80",
    ]


async def test_a_crlf_file_stays_one(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.text = "1\r\nprint(x)"
    answer = await completion(client, prompt="x = 1\r\ny = ", suffix="\r\nprint(x)", stop="\n")
    assert answer["choices"][0]["text"] == "1"


async def test_a_model_is_found_by_a_name_with_a_slash_or_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/models/google/codegemma-2b")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_context_that_is_too_short_is_said_in_words_that_clients_know(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": " a" * 600}]})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
    assert f"this model's maximum context length is {MAX_CONTEXT} tokens" in error["message"]  # OpenAI's, LiteLLM knows
    assert "prompt is too long" in error["message"]  # Anthropic's: LangChain finds no other in a chat
