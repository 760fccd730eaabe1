"""`codegemma serve` for other machines too: with API keys, and not without."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from codegemma.v1.model_service_pb2 import ListModelsRequest
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub

from serving.access.keys import KeyFile
from serving.config import Role
from tests.service.serve_process import COMMAND, Server, listening_elsewhere
from tests.service.tiny_codegemma import write_service

pytestmark = pytest.mark.timeout(600)  # the first start compiles


@dataclass(frozen=True)
class Started:
    """A service that is ready, the key that opens it, and what it printed."""

    url: str
    grpc_target: str
    keys_file: Path
    key: str
    output: str
    pid: int


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    directory = tmp_path_factory.mktemp("with-keys")
    file, key = KeyFile().with_new("test", "", tuple(Role))
    file.write(directory / "keys.yaml")
    config = write_service(directory, host="0.0.0.0", keys_file=str(directory / "keys.yaml"))
    with Server("--config", str(config)) as server:
        output = server.output_until("Ctrl-C drains")
        yield Started(
            f"http://127.0.0.1:{server.http_port}",
            f"127.0.0.1:{server.grpc_port}",
            directory / "keys.yaml",
            key,
            output,
            server.process.pid,
        )
        server.ends_well_by(signal.SIGINT)


def test_nothing_is_answered_without_a_key(started: Started) -> None:
    assert httpx.get(f"{started.url}/v1/models").status_code == 401
    with grpc.insecure_channel(started.grpc_target) as channel, pytest.raises(grpc.RpcError) as raised:
        ModelServiceStub(channel).ListModels(ListModelsRequest())
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert httpx.get(f"{started.url}/health").status_code == 200


def test_other_machines_reach_what_asks_for_a_key_and_nothing_else_of_ray(started: Started) -> None:
    elsewhere = listening_elsewhere(started.pid)
    assert any("haproxy" in command for command in elsewhere)
    assert [command for command in elsewhere if not re.search("haproxy|:Gateway|ProxyActor", command)] == []


@pytest.mark.parametrize("what", ["HTTP", "gRPC"])
def test_the_printed_example_works_with_the_key(started: Started, what: str) -> None:
    command = re.split(r"\n\n", started.output.split(f"Complete by {what}:\n\n")[1])[0].replace("0.0.0.0", "127.0.0.1")
    environment = os.environ | {"CODEGEMMA_API_KEY": started.key}
    subprocess.run(["bash", "-c", command], env=environment, capture_output=True, timeout=120, check=True)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert "bearer token" in done.stdout + done.stderr  # without it


def becomes(started: Started, status: int, headers: dict[str, str]) -> bool:
    """Whether what these headers get is this status within a few seconds."""
    until = time.monotonic() + 10
    while httpx.get(f"{started.url}/v1/models", headers=headers).status_code != status:
        if time.monotonic() > until:
            return False
    return True


def create_key(started: Started, *options: str) -> str:
    name = f"key {len(KeyFile.read(started.keys_file).keys)}"
    command = [str(COMMAND), "keys", "create", name, "--file", str(started.keys_file), *options]
    key = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert becomes(started, 200, {"x-api-key": key})
    return key


def test_a_prompt_is_cached_for_its_tenant_and_for_no_other(started: Started) -> None:
    def cached(key: str) -> int:
        body = {"prompt": "\n".join(f"x{n} = {n}" for n in range(16)), "max_tokens": 1}
        answer = httpx.post(f"{started.url}/v1/completions", json=body, headers={"x-api-key": key}, timeout=60)
        tokens: int = answer.raise_for_status().json()["usage"]["prompt_tokens_details"]["cached_tokens"]
        return tokens

    of_a, also_of_a, of_b = (create_key(started, "--tenant", tenant) for tenant in "aab")
    assert cached(of_a) == 0
    assert cached(of_b) == cached(started.key) == 0
    assert cached(also_of_a) > 0


def test_a_key_that_is_made_or_revoked_counts_without_a_restart(started: Started) -> None:
    key = create_key(started)
    headers = {"authorization": f"Bearer {key}"}
    command = [str(COMMAND), "keys", "revoke", key.split("_")[1], "--file", str(started.keys_file)]
    subprocess.run(command, capture_output=True, check=True)
    assert becomes(started, 401, headers)
    assert httpx.get(f"{started.url}/v1/models", headers={"x-api-key": started.key}).status_code == 200


def test_it_does_not_start_for_other_machines_without_keys(tmp_path: Path) -> None:
    command = [str(COMMAND), "serve", "--config", str(write_service(tmp_path, host="0.0.0.0"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "gateway.keys_file is not set" in " ".join(done.stderr.split())
