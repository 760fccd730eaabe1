"""Asking a service: its hiccups are no mistakes of a model."""

from collections.abc import Callable

import httpx
import pytest

from serving.evaluation import service
from serving.evaluation.service import RefusedError, Service, ServiceError

ANSWER = {
    "choices": [{"text": "x", "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}},
}


def asking(answer: Callable[[httpx.Request], httpx.Response]) -> Service:
    return Service("http://127.0.0.1:1", "key", httpx.MockTransport(answer))


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_FIRST_WAIT_S", 0.0)


async def test_a_busy_or_absent_service_is_asked_again() -> None:
    answers = iter([httpx.Response(503), httpx.Response(429), None, httpx.Response(200, json=ANSWER)])

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer key"
        if (response := next(answers)) is None:
            raise httpx.ConnectError("refused")
        return response

    async with asking(answer) as client:
        found = await client.complete({"prompt": "x"})
    assert (found.text, found.prompt_tokens, found.cached_tokens) == ("x", 5, 4)


async def test_a_refusal_is_told_at_once() -> None:
    error = {"error": {"message": "prompt is\ntoo long"}}
    async with asking(lambda _: httpx.Response(400, json=error)) as client:
        with pytest.raises(ServiceError, match="refused: prompt is too long"):
            await client.complete({"prompt": "x"})


@pytest.mark.parametrize(("status", "of_the_body"), [(400, True), (413, True), (401, False), (404, False)])
async def test_what_is_wrong_with_one_question_is_told_from_what_is_wrong_with_all(
    status: int, of_the_body: bool
) -> None:
    async with asking(lambda _: httpx.Response(status)) as client:
        with pytest.raises(ServiceError) as error:
            await client.complete({"prompt": "x"})
    assert isinstance(error.value, RefusedError) is of_the_body


async def test_a_service_that_stays_away_is_given_up() -> None:
    async with asking(lambda _: httpx.Response(503)) as client:
        with pytest.raises(ServiceError, match="HTTP status 503"):
            await client.complete({"prompt": "x"})


async def test_the_only_model_needs_no_name_and_a_strange_one_is_refused() -> None:
    models = [{"id": "a", "aliases": ["b"]}]
    async with asking(lambda _: httpx.Response(200, json={"data": models})) as client:
        assert (await client.model(""))["id"] == (await client.model("b"))["id"] == "a"
        with pytest.raises(ServiceError, match="serves a, not one 'c'"):
            await client.model("c")
        models.append({"id": "d"})
        with pytest.raises(ServiceError, match="serves a, d"):
            await client.model("")
