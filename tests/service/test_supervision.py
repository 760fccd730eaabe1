"""What becomes of `codegemma serve` when processes below it are lost."""

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

from serving.supervision.processes import service_processes
from tests.service.mixed_load import until
from tests.service.serve_process import Server
from tests.service.tiny_codegemma import write_service

pytestmark = pytest.mark.timeout(300)

_BACK_S = 90.0
"""Beyond the minute that it should take at most: the tests' machine may be busy."""
_READY = "Ctrl-C drains"
_STARTS = 3
"""After which Ray Serve gives a group up, if the controller has seen none of its kind that started."""


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
    _kill(server, kind)
    _until(lambda: _kinds(server) == before and _answers(server), f"in service again without its {kind}")


def test_a_group_that_ray_serve_gives_up_comes_back(server: Server) -> None:
    before = _kinds(server)
    _kill(server, "controller", "leader")
    for _ in range(_STARTS):  # as Ray's memory monitor does, again and again
        _until(lambda: "leader" in _kinds(server), "another leader starts")
        _kill(server, "leader")
    server.output_until("starting everything anew")
    server.output_until(_READY)
    assert _kinds(server) == before and _answers(server)


def test_memory_that_others_take_is_no_reason_to_end_the_service_before_them(server: Server) -> None:
    processes = service_processes(server.process.pid)
    [raylet], [leader] = processes["raylet"], processes["leader"]
    assert raylet.environ()["RAY_memory_monitor_refresh_ms"] == "0"
    assert _oom_score_adjustment(leader.pid) == _oom_score_adjustment(server.process.pid)


@pytest.mark.parametrize("kind", ["raylet", "GCS"])
def test_without_rays_foundation_it_says_so_and_starts_anew(server: Server, kind: str) -> None:
    old = [process for found in service_processes(server.process.pid).values() for process in found]
    _kill(server, kind)
    assert "Ray cannot go on without: starting everything anew." in server.output_until(f"Lost: {kind}")
    server.output_until(_READY)
    assert _answers(server)
    assert not [process for process in old if process.is_running()]


def test_a_start_without_rays_foundation_ends_with_a_message(config: Path) -> None:
    with Server("--config", str(config)) as server:
        server.output_until("opening the checkpoint")
        _kill(server, "raylet")
        assert "Lost: raylet" in server.output_until("Lost: ")
        server.process.communicate(timeout=60)
        assert server.process.returncode == 1


def test_a_service_without_its_foundation_ends_on_ctrl_c(config: Path) -> None:
    with Server("--config", str(config)) as server:
        server.output_until(_READY)
        _kill(server, "GCS")
        server.ends_well_by(signal.SIGINT)


def _kill(server: Server, *kinds: str) -> None:
    found = service_processes(server.process.pid)
    for process in [process for kind in kinds for process in found[kind]]:
        process.kill()
        process.wait()


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
