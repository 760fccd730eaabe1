"""What a health check makes of whatever answers at a service's ports, or does not."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from serving.supervision import probe
from serving.supervision.probe import Probe
from serving.supervision.watch import ServiceHealth

_OK = (200, json.dumps({"status": "ok"}))
_HOST = "127.0.0.1"


@contextmanager
def http_that_says(status: int, body: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((_HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@contextmanager
def grpc_that_says(status: int) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(1))
    health = HealthServicer()
    health.set("", status)
    add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port(f"{_HOST}:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@contextmanager
def silence() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server((_HOST, 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def nothing() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as held:
        held.bind((_HOST, 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_OK, ServiceHealth()),
        ((200, json.dumps({"status": "degraded", "unavailable": ["chat"]})), ServiceHealth(unavailable=("chat",))),
        (
            (503, json.dumps({"error": {"message": "No gateway answers. It may be starting; try again."}})),
            ServiceHealth(("HTTP: No gateway answers",)),
        ),
        ((404, "Path '/health' not found."), ServiceHealth(("HTTP: status 404, not from a Gateway",))),
        ((200, "[]"), ServiceHealth(("HTTP: status 200, not from a Gateway",))),
        ((500, "[]"), ServiceHealth(("HTTP: status 500, not from a Gateway",))),
    ],
)
def test_what_http_says_is_understood(answer: tuple[int, str], expected: ServiceHealth) -> None:
    with http_that_says(*answer) as http, grpc_that_says(HealthCheckResponse.SERVING) as grpc_port:
        assert Probe(("0.0.0.0", http), (_HOST, grpc_port)).health() == expected


def test_grpc_alone_can_be_out_of_service() -> None:
    with http_that_says(*_OK) as http, grpc_that_says(HealthCheckResponse.NOT_SERVING) as grpc_port:
        assert Probe((_HOST, http), (_HOST, grpc_port)).health() == ServiceHealth(("gRPC: not serving",))


def test_without_a_server_there_is_no_connection() -> None:
    with nothing() as http, nothing() as grpc_port:
        expected = ServiceHealth(("HTTP: no connection", "gRPC: UNAVAILABLE"))
        assert Probe((_HOST, http), (_HOST, grpc_port)).health() == expected


def test_silence_is_waited_for_no_longer_than_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_TIMEOUT_S", 0.1)
    with silence() as http, silence() as grpc_port:
        health = Probe((_HOST, http), (_HOST, grpc_port)).health()
    assert health.failures[0].startswith("HTTP: no answer within")
    assert health.failures[1].startswith("gRPC: ")
