"""OpenAI's API as JSON on the wire."""

import json
import re
from typing import Any

import httpx
import pytest

from serving.config import GatewayConfig, Role
from serving.engine.request import FinishReason, GenerationChunk
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.http.event_stream import events
from tests.gateway.scripted_backend import ScriptedBackend, served_model

USER = [{"role": "user", "content": "Hi"}]


async def test_a_completion_has_the_fields_of_openais(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.end = GenerationChunk(finish_reason=FinishReason.STOP, cached_tokens=1)
    response = await client.post(
        "/v1/completions", json={"prompt": "def f", "model": "default"}, headers={"x-request-id": "abc"}
    )
    body = response.json()
    created = body.pop("created")
    tokens = len(backend.tokenizer.encode("return 1\n"))
    assert (response.status_code, type(created)) == (200, int)
    assert body == {
        "id": "cmpl-abc",
        "object": "text_completion",
        "model": "codegemma-test",
        "system_fingerprint": "a checkpoint",
        "choices": [{"index": 0, "text": "return 1\n", "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": tokens,
            "total_tokens": 3 + tokens,
            "prompt_tokens_details": {"cached_tokens": 1},
        },
    }


async def test_a_chat_completion_has_the_fields_of_openais(client: httpx.AsyncClient) -> None:
    body = (await client.post("/v1/chat/completions", json={"messages": USER})).json()
    assert body["object"] == "chat.completion"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "return 1\n", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


async def test_json_is_compact_as_some_editors_need_it(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/completions", json={"prompt": "x"})
    assert '"text":"return 1\\n","logprobs":null' in response.text
    assert response.headers["content-type"] == "application/json"


async def test_a_stream_ends_with_the_usage_if_asked_for_and_done(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    asked = {"prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
    *pieces, usage, done = events(await client.post("/v1/completions", json=asked))
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == "return 1\n"
    assert [piece["choices"][0]["finish_reason"] for piece in pieces][-1] == "stop"
    assert {piece["usage"] for piece in pieces} == {None}
    assert (usage["choices"], usage["usage"]["prompt_tokens"], done) == ([], 2, "[DONE]")
    *pieces, done = events(await client.post("/v1/completions", json={"prompt": "x", "stream": True}))
    assert done == "[DONE]"
    assert not any("usage" in piece for piece in pieces)


async def test_text_in_events_ends_no_line(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.text = "a\u2028b\u2029c\x85d"
    response = await client.post("/v1/completions", json={"prompt": "x", "stream": True})
    *pieces, done = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert "".join(json.loads(piece)["choices"][0]["text"] for piece in pieces) == backend.text
    assert done == "[DONE]"


async def test_a_chat_stream_names_the_role_once_for_each_choice(client: httpx.AsyncClient) -> None:
    *pieces, _ = events(await client.post("/v1/chat/completions", json={"messages": USER, "stream": True, "n": 2}))
    for index in (0, 1):
        deltas = [piece["choices"][0]["delta"] for piece in pieces if piece["choices"][0]["index"] == index]
        assert [delta.get("role") for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
        assert "".join(delta["content"] for delta in deltas) == "return 1\n"
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [({}, "return 1\n\n\ndef g():\n    pass"), ({"post_processing": True, "path": "f.py"}, "return 1")],
    ids=["as the model wrote it", "to the end of its block"],
)
async def test_filled_in_code_ends_with_its_block_where_that_is_asked_for(
    client: httpx.AsyncClient, backend: ScriptedBackend, fields: dict[str, object], text: str
) -> None:
    backend.text = "return 1\n\n\ndef g():\n    pass"
    body = {"prompt": "def f():\n    ", "suffix": "\n", **fields}
    answer = await client.post("/v1/completions", json=body)
    assert answer.json()["choices"][0]["text"] == text


async def test_a_suffix_asks_for_fill_in_the_middle(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    await client.post("/v1/completions", json={"prompt": "a = ", "suffix": "\n"})
    encode = backend.tokenizer.encode
    assert backend.requests[0].prompt_ids == (2, 67, *encode("a = "), 69, *encode("\n"), 68)


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("<|fim_prefix|>", [(2, 67)]),
        (["<|fim_prefix|>", "<|fim_suffix|>"], [(2, 67), (2, 69)]),
        ([2, 5, 6], [(2, 5, 6)]),
        ([[2, 5], [2, 6]], [(2, 5), (2, 6)]),
    ],
)
async def test_a_prompt_is_text_or_ids_or_a_list_of_either(
    client: httpx.AsyncClient, backend: ScriptedBackend, prompt: object, ids: list[tuple[int, ...]]
) -> None:
    body = (await client.post("/v1/completions", json={"prompt": prompt})).json()
    assert sorted(request.prompt_ids for request in backend.requests) == ids
    assert [choice["index"] for choice in body["choices"]] == list(range(len(ids)))


async def test_choices_of_several_prompts_are_in_openais_order(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.echoes = True
    body = (await client.post("/v1/completions", json={"prompt": ["a", "b c"], "n": 2, "seed": 1})).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in body["choices"]] == ["a", "a", "b c", "b c"]
    assert body["usage"]["prompt_tokens"] == 2 + 3
    seeds = sorted((len(request.prompt_ids), request.sampling.seed) for request in backend.requests)
    assert seeds == [(2, 1), (2, 2), (3, 1), (3, 2)]


async def test_log_probabilities_of_a_completion(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    body = (await client.post("/v1/completions", json={"prompt": "x", "logprobs": 2})).json()
    logprobs = body["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == "return 1\n"
    assert logprobs["text_offset"] == [0, 6, 7, 8]
    assert logprobs["token_logprobs"] == [-0.25] * 4
    assert list(logprobs["top_logprobs"][0].values()) == [-0.25, -1.5]


async def test_text_offsets_go_on_through_a_stream(client: httpx.AsyncClient) -> None:
    *pieces, _ = events(await client.post("/v1/completions", json={"prompt": "x", "logprobs": 0, "stream": True}))
    found = [piece["choices"][0]["logprobs"] for piece in pieces]
    assert [offset for logprobs in found if logprobs for offset in logprobs["text_offset"]] == [0, 6, 7, 8]


async def test_log_probabilities_of_a_chat(client: httpx.AsyncClient) -> None:
    asked = {"messages": USER, "logprobs": True, "top_logprobs": 1}
    body = (await client.post("/v1/chat/completions", json=asked)).json()
    first = body["choices"][0]["logprobs"]["content"][0]
    token = {"token": "return", "logprob": -0.25, "bytes": list(b"return")}
    assert first == {**token, "top_logprobs": [token]}


async def test_system_and_developer_texts_and_text_parts_are_understood(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [
        {"role": "system", "content": "S"},
        {"role": "developer", "content": "D", "name": "x"},
        {"role": "user", "content": parts},
    ]
    await client.post("/v1/chat/completions", json={"messages": messages})
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids) == "user\nS\n\nD\n\nab\nmodel\n"


async def test_sampling_fields_reach_the_backend(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    sampling = {"temperature": 1, "top_p": 0.5, "top_k": 3, "seed": 7}
    await client.post("/v1/completions", json={"prompt": "x", "max_tokens": 5, "timeout": 7, **sampling})
    [request] = backend.requests
    assert (request.max_tokens, request.timeout_s) == (5, 7)
    found = request.sampling
    assert (found.temperature, found.top_p, found.top_k, found.seed) == (1.0, 0.5, 3, 7)


async def test_without_a_seed_every_request_draws_its_own(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for _ in range(3):
        await client.post("/v1/completions", json={"prompt": "x", "temperature": 1})
    assert len({request.sampling.seed for request in backend.requests}) > 1


async def test_a_chat_takes_either_name_for_its_token_limit(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    for limits in ({"max_tokens": 2}, {"max_completion_tokens": 3}, {"max_tokens": 2, "max_completion_tokens": 3}):
        body = (await client.post("/v1/chat/completions", json={"messages": USER, **limits})).json()
        assert body["choices"][0]["finish_reason"] == "length"
    assert [request.max_tokens for request in backend.requests] == [2, 3, 3]


async def test_null_stands_for_a_field_that_is_not_there(client: httpx.AsyncClient) -> None:
    fields = "model suffix max_tokens temperature top_p top_k n seed stop stream logprobs stream_options timeout user"
    nothing = dict.fromkeys(f"{fields} echo best_of logit_bias presence_penalty tools".split())
    assert (await client.post("/v1/completions", json={"prompt": "x", **nothing})).status_code == 200
    assert (await client.post("/v1/chat/completions", json={"messages": USER, **nothing})).status_code == 200


async def test_unknown_fields_and_neutral_values_are_accepted(client: httpx.AsyncClient) -> None:
    neutral = {
        "store": True,
        "metadata": {"a": "b"},
        "cache_prompt": True,
        "best_of": 1,
        "echo": False,
        "frequency_penalty": 0,
        "logit_bias": {},
        "presence_penalty": 0.0,
        "response_format": {"type": "text"},
        "tool_choice": "auto",
        "tools": [],
    }
    assert (await client.post("/v1/completions", json={"prompt": "x", **neutral})).status_code == 200
    assert (await client.post("/v1/chat/completions", json={"messages": USER, **neutral})).status_code == 200


@pytest.mark.parametrize(
    "field",
    [
        {"best_of": 2},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"function_call": {"name": "f"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"use_beam_search": True},
        {"prompt_logprobs": 0},
        {"response_format": {"type": "json_object"}},
        {"typical_p": 0.9},
    ],
)
@pytest.mark.parametrize("path", ["completions", "chat/completions"])
async def test_unsupported_fields_that_would_change_the_answer_are_refused_by_name(
    client: httpx.AsyncClient, backend: ScriptedBackend, field: dict[str, object], path: str
) -> None:
    [name] = field
    response = await client.post(f"/v1/{path}", json={"prompt": "x", "messages": USER, **field})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", name)
    assert name in error["message"]
    assert not backend.requests


async def test_models_are_listed_with_what_they_do(client: httpx.AsyncClient) -> None:
    entry = {
        "id": "codegemma-test",
        "object": "model",
        "created": 0,
        "owned_by": "codegemma-serving",
        "aliases": ["default"],
        "roles": ["fim", "chat"],
        "fim": "native",
        "context_length": 512,
        "max_model_len": 512,
        "version": "a checkpoint",
    }
    assert (await client.get("/v1/models")).json() == {"object": "list", "data": [entry]}
    assert (await client.get("/v1/models/default")).json() == entry
    assert (await client.get("/health")).json() == {"status": "ok"}


async def test_health_names_the_models_that_no_group_answers_for(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.answers = False
    answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "codegemma-test" in answer.json()["error"]["message"]


async def test_health_waits_for_every_model_and_then_needs_one(codegemma: Tokenizer) -> None:
    backends = [ScriptedBackend(codegemma) for _ in range(2)]
    models = [served_model(backends[0], "fim-model", Role.FIM), served_model(backends[1], "chat-model", Role.CHAT)]
    service = CodeService(models, GatewayConfig(), access=OpenAccess())
    transport = httpx.ASGITransport(build_http_app(lambda: service, GatewayConfig()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        backends[1].answers = False
        assert (await client.get("/health")).status_code == 503  # completions alone, but it is only starting
        backends[1].answers = True
        assert (await client.get("/health")).json() == {"status": "ok"}
        backends[1].answers = False
        answer = await client.get("/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "unavailable": ["chat-model"]})
        backends[0].answers = False
        assert (await client.get("/health")).status_code == 503


async def test_the_prompts_of_one_request_do_not_supersede_each_other(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    body = {"prompt": ["a", "b"], "n": 2}
    await client.post("/v1/completions", json=body, headers={"x-session-id": "cursor"})
    assert len(backend.requests) == 4
    assert len({request.sent_at for request in backend.requests}) == 1


async def test_the_session_is_the_header_alone(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for headers in ({}, {"x-session-id": "file"}):
        await client.post("/v1/completions", json={"prompt": "x", "user": "ann"}, headers=headers)
    assert [request.session_id for request in backend.requests] == ["", "7:tenant:/file"]


async def test_a_request_is_named_by_its_client_or_by_the_server(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    answers = [
        await client.post("/v1/completions", json={"prompt": "x"}, headers={"x-request-id": name})
        for name in ("mine", "a b", "reason=ok", '"}')
    ]
    assert answers[0].json()["id"] == "cmpl-mine"
    for answer in answers[1:]:
        assert re.fullmatch("cmpl-[0-9a-f]{32}", answer.json()["id"])


async def test_overload_is_told_with_a_time_to_try_again(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.text, backend.error = "", ServingError(Reason.OVERLOADED, "Too many.", retry_after_s=1.2)
    for stream in (False, True):
        response = await client.post("/v1/completions", json={"prompt": "x", "stream": stream})
        assert (response.status_code, response.headers["retry-after"]) == (429, "2")
        assert response.json() == {
            "error": {"message": "Too many.", "type": "rate_limit_error", "param": None, "code": "overloaded"}
        }


async def test_a_failure_after_the_first_event_is_the_last_event(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.error = ServingError(Reason.UNAVAILABLE, "Gone.")
    response = await client.post("/v1/completions", json={"prompt": "x", "stream": True})
    *pieces, failure = events(response)
    assert response.status_code == 200
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == "return 1\n"
    assert failure["error"]["code"] == "unavailable"


async def test_an_unexpected_failure_is_a_500_without_a_stack_trace(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.error = RuntimeError("secret")
    response = await client.post("/v1/completions", json={"prompt": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in response.text
    assert "Traceback" not in response.text


async def test_other_files_go_before_the_code_and_those_left_out_are_said(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    fill = {"prompt": "x = ", "suffix": "\n", "path": "m.py", "language": "python"}
    files = [{"path": "b.py", "text": "B = 1\n"}, {"path": "a.py", "text": "A = 2\n"}]
    body = (await client.post("/v1/completions", json={**fill, "context_files": files})).json()
    assert "truncated" not in body
    encode = backend.tokenizer.encode
    others = (*encode("a.py\nA = 2\n"), 70, *encode("b.py\nB = 1\n"), 70, *encode("m.py\n"))
    assert backend.requests[0].prompt_ids[1 : len(others) + 1] == others
    long = {**fill, "context_files": [{"path": "a.py", "text": "A = 2\n" * 500}]}
    assert (await client.post("/v1/completions", json=long)).json()["truncated"]
    *_, last, _ = events(await client.post("/v1/completions", json={**long, "stream": True}))
    assert (last["choices"], last["truncated"]) == ([], True)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"prompt": "x = 1\n" * 500, "suffix": "\n"}, "context_length_exceeded", "prompt"),
        ({"prompt": "x", "context_files": [{"path": "a.py", "text": "A"}]}, "invalid_argument", "context_files"),
        (
            {"prompt": "x", "suffix": "", "context_files": [{"path": "a.py"}]},
            "invalid_argument",
            "context_files[0].text",
        ),
    ],
)
async def test_a_prompt_that_is_too_long_is_refused_and_so_are_files_without_a_suffix(
    client: httpx.AsyncClient, body: dict[str, Any], code: str, param: str
) -> None:
    response = await client.post("/v1/completions", json=body)
    assert response.status_code == 400
    assert (response.json()["error"]["code"], response.json()["error"]["param"]) == (code, param)
