"""The client commands against servers that are not ours or break off."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from typer.testing import CliRunner

from serving.cli.main import app


class Server(HTTPServer):
    """Answers everything with one status and body; `length` promises more than the body has."""

    status = 200
    content_type = "text/html"
    body = b"<h1>Welcome</h1>"
    length = len(body)
    authorization: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.authorization = self.headers["authorization"]
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.send_response(self.server.status)
        self.send_header("content-type", self.server.content_type)
        self.send_header("content-length", str(self.server.length))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("CODEGEMMA_URL", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def error_of(*args: str, stdout: str = "") -> str:
    result = CliRunner().invoke(app, args, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (1, stdout)
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("args", [("models",), ("chat", "hello")])
def test_a_web_page_instead_of_an_answer_is_named_as_such(server: Server, status: int, args: tuple[str, ...]) -> None:
    server.status = status
    url = f"http://127.0.0.1:{server.server_port}"
    assert error_of(*args).startswith(f"error: {url} answered ")
    assert "Is --url right?" in error_of(*args)


def test_a_refused_key_says_where_to_set_it(server: Server) -> None:
    server.status = 401
    assert "Set CODEGEMMA_API_KEY or --api-key." in error_of("models", "--api-key", "wrong")
    assert server.authorization == "Bearer wrong"


def test_an_answer_that_breaks_off_is_printed_as_far_as_it_came_and_ends_in_an_error(server: Server) -> None:
    server.content_type = "text/event-stream"
    server.body = (
        b'data: {"id":"1","object":"x","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Us"}}]}\n\n'
    )
    server.length = len(server.body) + 10
    assert "No answer from" in error_of("chat", "hello", stdout="Us")


def test_an_error_in_the_middle_of_a_stream_is_said_in_its_own_words(server: Server) -> None:
    server.content_type = "text/event-stream"
    server.body = b'data: {"error":{"message":"the model was stopped","type":"server_error","code":"unavailable"}}\n\n'
    server.length = len(server.body)
    assert error_of("chat", "hello") == "error: the model was stopped\n"


def test_an_answer_that_ends_without_its_end_is_an_error(server: Server) -> None:
    server.content_type = "text/event-stream"
    server.body = b'data: {"choices":[{"index":0,"delta":{"content":"Us"}}]}\n\n'
    server.length = len(server.body)
    assert "broke off" in error_of("chat", "hello", stdout="Us")


@pytest.mark.parametrize("body", [b"data: nonsense\n\n", b'data: {"choices":"none"}\n\n', b"data: []\n\n"])
def test_events_that_are_no_answer_are_named_as_such(server: Server, body: bytes) -> None:
    server.content_type = "text/event-stream"
    server.body, server.length = body, len(body)
    assert "Is --url right?" in error_of("chat", "hello")


def test_models_that_are_none_are_named_as_such(server: Server) -> None:
    server.content_type, server.body, server.length = "application/json", b'{"data": 1}', 11
    assert "Is --url right?" in error_of("models")


def test_what_a_key_may_not_do_is_said_in_the_words_of_the_server(server: Server) -> None:
    server.status, server.content_type = 403, "application/json"
    server.body = b'{"error":{"message":"This API key may not be used for chat."}}'
    server.length = len(server.body)
    assert error_of("chat", "hello") == "error: This API key may not be used for chat.\n"
