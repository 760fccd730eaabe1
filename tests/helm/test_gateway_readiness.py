"""The chart's programs against the Gateway's own code, which asks for a key."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role
from serving.gateway.access import BearerAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from tests.gateway.conftest import backend, codegemma, serving_on_loopback
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model
from tests.helm.chart import CHART

__all__ = ["backend", "codegemma"]  # fixtures


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key of the service's file."""
    file, key = KeyFile().with_new("probe", "", tuple(Role))
    file.write(tmp_path / "keys.yaml")
    return key


@pytest.fixture
def service(backend: ScriptedBackend, key: str, tmp_path: Path) -> CodeService:
    model = served_model(backend, "model", Role.FIM, Role.CHAT)
    return CodeService([model], GatewayConfig(), access=BearerAccess(tmp_path / "keys.yaml"))


async def _run(script: str, *arguments: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHART / "files" / script),
        *arguments,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize("answers", [True, False])
async def test_a_gateway_pod_is_ready_as_soon_as_its_models_answer(
    answers: bool, service: CodeService, backend: ScriptedBackend
) -> None:
    backend.answers = answers
    async with (
        serving_on_loopback(build_http_app(lambda: service, GatewayConfig())) as url,
        grpc_server(service) as rpc,
    ):
        ports = (url.rpartition(":")[2], rpc.rpartition(":")[2])
        code, output = await _run("ready.py", *ports)
    assert (code == 0) == answers, output
    assert answers or "HTTP 503" in output


@pytest.mark.parametrize("module", ["serving.servers.guards_of_old", "serving.old.guards", "serving.servers.guards"])
async def test_a_gateway_pod_whose_image_is_of_another_version_than_the_chart_says_so(module: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens there
        port = str(taken.getsockname()[1])
        callback = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{module}.guards"}
        code, output = await _run("ready.py", port, port, **callback)
    assert code == 1
    if module == "serving.servers.guards":
        assert "Connection refused" in output
    else:
        assert f"the image has no {module}: it and the chart are of different versions" in output


async def test_the_helm_test_completes_with_a_key_and_is_refused_without(service: CodeService, key: str) -> None:
    async with serving_on_loopback(build_http_app(lambda: service, GatewayConfig())) as url:
        with_key = await _run("answers.py", url, KEYS_REQUIRED="true", API_KEY=key)
        without = await _run("answers.py", url, KEYS_REQUIRED="true")
        revoked = await _run("answers.py", url, KEYS_REQUIRED="true", API_KEY=key[:-1] + "?")
    assert with_key[0] == 0, with_key
    assert without[0] == 0 and "completion: 401" in without[1]
    assert revoked[0] == 1
