"""What becomes of `codegemma serve` when processes below it are lost, or the machine's memory is."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from codegemma.v1.code_assist_service_pb2 import CompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.prompt_pb2 import FimInput

from bench.mixed_load import until
from serving.supervision.memory import memory
from serving.supervision.processes import service_processes
from tests.service.memory_hog import memory_in_use
from tests.service.serve_process import Server
from tests.service.tiny_codegemma import write_service

pytestmark = pytest.mark.timeout(300)

_BACK_S = 60.0
_READY = "Ctrl-C drains"
_SERVICE_BYTES, _ROOM_BYTES = 5 * 2**28, 2**29
"""About what the tiny service takes, and what is to be free beside it."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_service(tmp_path_factory.mktemp("supervised"))


@pytest.fixture(scope="module")
def server(config: Path) -> Iterator[Server]:
    with Server("--config", str(config)) as server:
        server.output_until(_READY)
        yield server
        server.ends_well_by(signal.SIGINT)


@pytest.mark.parametrize("kind", ["HAProxy", "proxy manager", "Gateway", "leader", "controller"])
def test_what_is_killed_comes_back_by_itself(server: Server, kind: str) -> None:
    before = _kinds(server)
    for process in service_processes(server.process.pid)[kind]:
        process.kill()
        process.wait()
    _until(lambda: _kinds(server) == before and _answers(server), f"in service again without its {kind}")


def test_ray_ends_nothing_for_memory_and_the_kernel_takes_it_for_no_better_victim_than_others(server: Server) -> None:
    processes = service_processes(server.process.pid)
    [raylet], [leader] = processes["raylet"], processes["leader"]
    assert raylet.environ()["RAY_memory_monitor_refresh_ms"] == "0"
    assert _oom_score_adjustment(leader.pid) == _oom_score_adjustment(server.process.pid)


@pytest.mark.parametrize("kind", ["raylet", "GCS"])
def test_without_rays_foundation_it_says_so_and_starts_anew(server: Server, kind: str) -> None:
    old = [process for found in service_processes(server.process.pid).values() for process in found]
    [process] = service_processes(server.process.pid)[kind]
    killed = time.monotonic()
    process.kill()
    assert f"Lost: {kind}. Ray cannot go on without: starting everything anew." in server.output_until("anew")
    server.output_until(_READY)
    assert time.monotonic() - killed < _BACK_S
    assert _answers(server)
    assert not [process for process in old if process.is_running()]


def test_a_service_without_its_foundation_ends_on_ctrl_c(config: Path) -> None:
    with Server("--config", str(config)) as server:
        server.output_until(_READY)
        [gcs] = service_processes(server.process.pid)["GCS"]
        gcs.kill()
        server.ends_well_by(signal.SIGINT)


def test_it_says_that_memory_is_full_and_is_back_once_there_is_some(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = memory().used + _SERVICE_BYTES + _ROOM_BYTES
    monkeypatch.setenv("RAY_memory_usage_threshold", str(most / memory().total))
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    with Server("--config", str(config)) as server:
        server.output_until(_READY)
        before = _kinds(server)
        with memory_in_use(most + _ROOM_BYTES // 8):
            assert "Out of service" in server.output_until("The memory is full")
        _until(lambda: _kinds(server) == before and _answers(server), "in service again once there is memory")
        server.ends_well_by(signal.SIGINT)


def _oom_score_adjustment(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def _kinds(server: Server) -> set[str]:
    return {kind for kind, found in service_processes(server.process.pid).items() if found}


def _answers(server: Server) -> bool:
    """Whether it completes over both protocols; says nothing of what a proxy answers in its stead."""
    try:
        body = {"prompt": f"at {time.time()}", "max_tokens": 1}
        answer = httpx.post(f"http://127.0.0.1:{server.http_port}/v1/completions", json=body)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            request = CompleteRequest(fim=FimInput(prefix=f"at {time.time()}"))
            CodeAssistServiceStub(channel).Complete(request, timeout=5)
    except (httpx.HTTPError, grpc.RpcError):
        return False
    return answer.is_success


def _until(condition: Callable[[], bool], what: str) -> None:
    asyncio.run(until(condition, _BACK_S, what))
