"""An API is a table of routes and its own way to write; whatever fails on one of its paths is in its form."""

import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response

from serving.config import GatewayConfig, Role, RoutingConfig
from serving.errors import Reason, ServingError
from serving.gateway.http import app as http_app_module
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import Api, ApiRoute, Generation, api_at
from serving.gateway.http.app import build_http_app
from serving.gateway.http.call import HttpCall
from serving.gateway.http.framing import NDJSON, ndjson_line
from serving.gateway.http.guard import HttpGuard
from serving.gateway.http.openai.routes import OPENAI
from serving.gateway.http.responses import json_response
from serving.gateway.http.times import HttpTimes
from serving.gateway.request import AnswerPart, CodeRequest, Piece, TextPrompt
from serving.gateway.service import CodeService
from tests.gateway.access.nobody_may_ask import NobodyMayAsk
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service, served_model


def complaint(error: ServingError) -> dict[str, str]:
    return {"complaint": error.message}


class WholeText(WholeAnswer):
    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, part: AnswerPart) -> None:
        if isinstance(part, Piece):
            self._texts.append(part.text)

    def body(self) -> object:
        return ["".join(self._texts)]


class TextLines(StreamedAnswer):
    framing = NDJSON

    def piece(self, part: AnswerPart) -> bytes:
        return ndjson_line(part.text) if isinstance(part, Piece) and part.text else b""

    def end(self) -> bytes:
        return b""

    def error(self, error: ServingError) -> bytes:
        return ndjson_line(complaint(error))


async def _write(call: HttpCall) -> Generation:
    def generation(body: dict[str, Any]) -> Generation:
        request = CodeRequest(prompt=TextPrompt(body["begin"]), choices=body.get("many", 1))
        answer = TextLines() if body.get("lines") else WholeText()
        return Generation([request], answer, {"prompt": "begin", "choices": "many"})

    return await call.json(generation)


async def _whoami(call: HttpCall) -> Response:
    return json_response({"tenant": call.caller.tenant, "id": call.metadata.request_id})


PLAIN = Api(
    name="Plain",
    routes=(
        ApiRoute("POST", "/plain/write", _write, "Write"),
        ApiRoute("GET", "/plain/whoami/{name}", _whoami, "Say who calls"),
    ),
    error_body=complaint,
    error_shape=dict[str, str],
    prefixes=("/plain/",),
)


@pytest.fixture(autouse=True)
def _two_apis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_app_module, "APIS", (OPENAI, PLAIN))
    monkeypatch.setattr("serving.gateway.http.guard.APIS", (OPENAI, PLAIN))


@pytest.fixture
def http_app(backend: ScriptedBackend) -> Starlette:
    service = one_model_service(backend)
    return build_http_app(lambda: service, GatewayConfig(max_body_bytes=1024), HttpTimes(body_s=1000))


def complaint_of(response: httpx.Response) -> str:
    [(name, message)] = response.json().items()
    assert name == "complaint"
    return str(message)


async def test_a_route_answers_in_its_apis_own_way(client: httpx.AsyncClient) -> None:
    assert (await client.post("/plain/write", json={"begin": "x"})).json() == ["return 1\n"]
    lines = await client.post("/plain/write", json={"begin": "x", "lines": True})
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert "".join(map(json.loads, lines.text.splitlines())) == "return 1\n"


async def test_a_handler_sees_who_calls_and_the_name_of_the_call(client: httpx.AsyncClient) -> None:
    headers = {"x-tenant-id": "acme", "x-request-id": "mine"}
    answer = await client.get("/plain/whoami/me", headers=headers)
    assert answer.json() == {"tenant": "acme", "id": "mine"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/plain/nothing", b"", 404),
        ("GET", "/plain/write", b"", 405),
        ("POST", "/plain/write", b"{", 400),
        ("POST", "/plain/write", b"a" * 1025, 413),
        ("POST", "/plain/write", b'{"other": 1}', 500),  # a fault of the API's own
    ],
)
async def test_what_is_wrong_with_a_request_is_in_the_apis_form(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, status: int
) -> None:
    response = await client.request(method, path, content=body)
    assert response.status_code == status
    assert complaint_of(response).endswith(".")


async def test_a_field_is_called_what_the_api_calls_it(client: httpx.AsyncClient) -> None:
    for lines in (False, True):
        response = await client.post("/plain/write", json={"begin": "x", "many": 9, "lines": lines})
        assert (response.status_code, complaint_of(response)) == (400, "many is 9; allowed is 1 to 8.")


async def test_a_failure_in_a_stream_is_in_the_apis_form(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.error = ServingError(Reason.UNAVAILABLE, "Gone.")
    response = await client.post("/plain/write", json={"begin": "x", "lines": True})
    assert response.status_code == 200
    assert json.loads(response.text.splitlines()[-1]) == {"complaint": "Gone."}


async def test_who_has_no_key_reads_so_in_the_apis_form(backend: ScriptedBackend) -> None:
    service = CodeService(
        [served_model(backend, "m", Role.FIM, Role.CHAT)], GatewayConfig(), RoutingConfig(), access=NobodyMayAsk()
    )
    transport = httpx.ASGITransport(build_http_app(lambda: service, GatewayConfig()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/plain/whoami/me")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert complaint_of(response) == "No."


async def test_a_header_that_is_no_text_is_refused_in_the_apis_form(http_app: Starlette) -> None:
    transport = httpx.ASGITransport(HttpGuard(http_app))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/plain/whoami/me", headers=[(b"x-session-id", b"\xff")])
    assert response.status_code == 400
    assert complaint_of(response).startswith("x-session-id has bytes")


async def test_a_path_of_no_api_is_refused_in_the_form_of_the_first(client: httpx.AsyncClient) -> None:
    response = await client.get("/nothing")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "route_not_found")


@pytest.mark.parametrize(
    ("path", "api"),
    [("/v1/completions", OPENAI), ("/v1/what", OPENAI), ("/", OPENAI), ("/plain", OPENAI), ("/plain/", PLAIN)],
)
def test_a_path_is_that_of_the_api_with_the_longest_beginning_of_it(path: str, api: Api) -> None:
    assert api_at(path, (OPENAI, PLAIN)) is api


def test_a_longer_route_of_one_api_takes_a_path_from_below_another() -> None:
    other = Api("Other", [ApiRoute("POST", "/v1/messages", _write, "Write")], complaint, dict[str, str])
    assert api_at("/v1/messages/batches", (OPENAI, other)) is other
    assert api_at("/v1/models", (OPENAI, other)) is OPENAI
