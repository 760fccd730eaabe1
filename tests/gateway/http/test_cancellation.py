"""A client that closes its connection frees the backend, whatever the request waits for."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from tests.gateway.scripted_backend import ScriptedBackend

BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": ["a", "b"], "n": 2},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
}


@pytest.mark.parametrize("pause_at", [0, 2])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
async def test_closing_the_connection_frees_the_backend(
    server: str, backend: ScriptedBackend, path: str, stream: bool, pause_at: int
) -> None:
    backend.pause_at = pause_at
    async with httpx.AsyncClient(base_url=server) as client:
        asking = asyncio.create_task(client.post(path, json={**BODIES[path], "stream": stream}))
        await backend.paused.wait()
        assert backend.running
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await backend.idle.wait()
        backend.pause_at = None
        assert (await client.post(path, json=BODIES[path])).status_code == 200


async def test_leaving_a_stream_after_its_first_event_frees_the_backend(server: str, backend: ScriptedBackend) -> None:
    backend.pause_at = 2
    body = {"prompt": "x", "stream": True}
    async with (
        httpx.AsyncClient(base_url=server) as client,
        client.stream("POST", "/v1/completions", json=body) as answer,
    ):
        first = await anext(answer.aiter_lines())
        assert json.loads(first.removeprefix("data: "))["choices"][0]["text"] == "return"  # it came at once
    await backend.idle.wait()


async def test_a_stop_text_frees_the_backend_before_the_answer_is_read(server: str, backend: ScriptedBackend) -> None:
    backend.pause_at = 2
    async with httpx.AsyncClient(base_url=server) as client:
        response = await client.post("/v1/completions", json={"prompt": "x", "stop": "return"})
    assert response.json()["choices"][0]["text"] == ""
    assert backend.running == 0


async def test_a_client_that_leaves_while_it_sends_is_no_failure(
    http_app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    """As a server tells it to the app: a part of the body, and then that the client is gone."""
    begun: Message = {"type": "http.request", "body": b'{"prompt"', "more_body": True}
    received = iter([begun, {"type": "http.disconnect"}])
    sent: list[Message] = []

    async def receive() -> Message:
        return next(received)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [], "query_string": b""}
    await http_app(scope, receive, send)
    assert sent[0]["status"] == 499
    assert not caplog.records
