"""What clients get wrong over HTTP: each fault has its status, its code and the field; the server goes on."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from serving.config import GatewayConfig
from serving.gateway.http.app import build_http_app
from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend

USER = {"role": "user", "content": "Hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}


async def fault(client: httpx.AsyncClient, path: str, body: Any) -> tuple[int, str, str | None]:
    """The status, code and field of a refused request."""
    response = await client.post(f"/v1/{path}", json=body)
    error = response.json()["error"]
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    return response.status_code, error["code"], error["param"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": [1.5]}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt[1]"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"prompt": [2, 256_000]}, "prompt[1]"),
        ({"prompt": [[2], [2, -1]]}, "prompt[1][1]"),
        ({"prompt": "", "suffix": ""}, "prompt"),
        ({"prompt": ["a", ""], "suffix": ""}, "prompt[1]"),
        ({"prompt": [1, 2], "suffix": "x"}, "suffix"),
        ({"prompt": "x", "suffix": 1}, "suffix"),
        ({"prompt": "x", "model": 1}, "model"),
        ({"prompt": "x", "max_tokens": "5"}, "max_tokens"),
        ({"prompt": "x", "max_tokens": True}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "x", "max_tokens": -2}, "max_tokens"),
        ({"prompt": "x", "temperature": "hot"}, "temperature"),
        ({"prompt": "x", "temperature": -1}, "temperature"),
        ({"prompt": "x", "temperature": 1e30}, "temperature"),
        ({"prompt": "x", "top_k": -2}, "top_k"),
        ({"prompt": "x", "n": 0}, "n"),
        ({"prompt": "x", "n": 10**30}, "n"),
        ({"prompt": "x", "logprobs": 21}, "logprobs"),
        ({"prompt": "x", "stop": 5}, "stop"),
        ({"prompt": "x", "stop": ["a", 5]}, "stop[1]"),
        ({"prompt": "x", "stop": ["a"] * 65}, "stop"),
        ({"prompt": "x", "stop": ["a", "b" * 1025]}, "stop[1]"),
        ({"prompt": "x", "stream": "yes"}, "stream"),
        ({"prompt": "x", "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"prompt": "x", "stop_token_ids": [1.5]}, "stop_token_ids[0]"),
        ({"prompt": "x", "stop_token_ids": [1] * 65}, "stop_token_ids"),
        ({"prompt": "x", "max_completion_tokens": -5}, "max_completion_tokens"),
        ({"prompt": "x", "logprobs": True}, "logprobs"),
        ({"prompt": "x", "top_p": -0.1}, "top_p"),
        ({"prompt": "x", "timeout": 0}, "timeout"),
    ],
)
async def test_a_bad_field_of_a_completion_is_named(
    client: httpx.AsyncClient, backend: ScriptedBackend, body: dict[str, object], field: str
) -> None:
    assert await fault(client, "completions", body) == (400, "invalid_argument", field)
    if body.get("stream") is None:
        assert await fault(client, "completions", {**body, "stream": True}) == (400, "invalid_argument", field)
    assert backend.running == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, IMAGE]}]},
            "messages[0].content[1].type",
        ),
        ({"messages": [0] * 4097}, "messages"),
        ({"messages": [USER], "max_completion_tokens": -2}, "max_completion_tokens"),
        ({"messages": [USER], "logprobs": 1}, "logprobs"),
        ({"messages": [USER], "top_logprobs": 1}, "top_logprobs"),
        ({"messages": [USER], "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ],
)
async def test_a_bad_field_of_a_chat_is_named(
    client: httpx.AsyncClient, backend: ScriptedBackend, body: dict[str, object], field: str
) -> None:
    assert (await fault(client, "chat/completions", body))[::2] == (400, field)
    assert not backend.requests


async def test_a_session_id_that_is_too_long_is_named(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/completions", json={"prompt": "x"}, headers={"x-session-id": "s" * 1025})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "x-session-id")
    assert error["message"] == "x-session-id has 1025 characters; at most 1024 are allowed."


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("completions", {"prompt": " a" * MAX_CONTEXT}, "prompt"),
        ("completions", {"prompt": " a" * MAX_CONTEXT, "suffix": "b"}, "prompt"),
        ("completions", {"prompt": [2] * MAX_CONTEXT}, "prompt"),
        ("chat/completions", {"messages": [{"role": "user", "content": " a" * MAX_CONTEXT}]}, "messages"),
    ],
)
async def test_what_does_not_fit_the_context_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, object], field: str
) -> None:
    assert await fault(client, path, body) == (400, "context_length_exceeded", field)


async def test_an_unknown_model_is_not_found(client: httpx.AsyncClient) -> None:
    assert await fault(client, "completions", {"prompt": "x", "model": "gpt"}) == (404, "model_not_found", "model")
    response = await client.get("/v1/models/gpt")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"prompt": NaN}',
        b'"text"',
        b"[]",
        b"[" * 10_000,
        b'{"prompt": "\xff"}',
    ],
)
@pytest.mark.parametrize("path", ["completions", "chat/completions"])
async def test_a_body_that_is_not_a_json_object_in_utf8_is_malformed(
    client: httpx.AsyncClient, path: str, body: bytes
) -> None:
    response = await client.post(f"/v1/{path}", content=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed_body")


async def test_an_unknown_path_or_method_has_an_error_body_too(client: httpx.AsyncClient) -> None:
    unknown = await client.post("/v1/embeddings", json={})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "route_not_found")
    wrong = await client.get("/v1/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/models", "/health"])
async def test_a_failure_outside_the_service_is_a_500_without_a_stack_trace(path: str) -> None:
    def no_service() -> Any:
        raise RuntimeError("secret")

    transport = httpx.ASGITransport(build_http_app(no_service, GatewayConfig()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get(path)
    assert (response.status_code, response.json()["error"]["type"]) == (500, "server_error")
    assert "secret" not in response.text


class EndlessBody:
    """An ASGI connection whose request body does not end; counts the bytes that were read."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/completions",
            "query_string": b"",
            "headers": headers,
        }
        self.read = 0
        self.status = 0

    async def receive(self) -> dict[str, Any]:
        self.read += 2**20
        return {"type": "http.request", "body": bytes(2**20), "more_body": True}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)


@pytest.mark.parametrize(
    ("header", "kept"), [((b"content-length", b"1000000000000"), 0), ((b"transfer-encoding", b"chunked"), 2**20)]
)
async def test_of_a_huge_body_64_mib_are_discarded_and_no_more(
    http_app: Starlette, header: tuple[bytes, bytes], kept: int
) -> None:
    connection = EndlessBody([header])
    await http_app(connection.scope, connection.receive, connection.send)
    assert (connection.status, connection.read) == (413, kept + 64 * 2**20)


async def test_a_body_of_20_megabytes_gets_its_answer_from_a_real_server(server: str) -> None:
    async with httpx.AsyncClient(base_url=server) as client:
        response = await client.post("/v1/completions", content=b'{"prompt": "' + b"x" * 20 * 2**20 + b'"}')
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
        assert (await client.post("/v1/completions", json={"prompt": "x"})).status_code == 200
