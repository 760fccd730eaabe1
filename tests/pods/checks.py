"""What must hold of a service whose pods are ready: isolation, keys, both protocols, metrics, logs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import httpx
from codegemma.client import ApiError, AsyncClient, FimInput, GenerationConfig, UnauthenticatedError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from tests.pods.node.folder import FOLDER
from tests.pods.node.pod import Pod

SECRET = "pods_canary_in_a_prompt"
"""Part of the prompts below, and of nothing else."""
_TIMEOUT_S = 120.0
_PROMPT = f"def {SECRET}(numbers):\n    "
_HAPROXY_METRICS = 9101
_METRICS = ("ray_codegemma_requests_total", "ray_codegemma_generated_tokens_total", "ray_codegemma_ready_groups")
_STATUS = {"Uid": "1000", "CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}


class CheckError(Exception):
    """Something that does not hold."""


async def check_isolation(pods: Iterable[Pod]) -> None:
    """Each pod's processes are user 1000 without any capability, and can write to their volumes only."""
    for pod in pods:
        ray = pod.container(pod.specification["spec"]["containers"][0]["name"])
        _, output = await ray.execute(["cat", "/proc/self/status"])
        fields = dict(line.split(":\t", 1) for line in output.splitlines() if ":\t" in line)
        seen = {name: fields[name].split()[0] for name in _STATUS}
        _expect(seen == _STATUS, f"{pod.name}: {seen}")
        for folder, writable in (("/opt", False), ("/home/codegemma", False), ("/tmp", True), ("/dev/shm", True)):
            status, output = await ray.execute(["touch", f"{folder}/written"])
            _expect((status == 0) == writable, f"{pod.name}: touch {folder}/written: {output}")


async def check_keys(http: str, target: str) -> None:
    """Without a key, or with a wrong one, nothing is answered but whether the service is ready."""
    async with httpx.AsyncClient(base_url=f"http://{http}", timeout=_TIMEOUT_S) as client:
        health = await client.get("/health")
        _expect(health.status_code == 200, f"/health: {health.status_code} {health.text}")
        for headers in ({}, {"authorization": "Bearer wrong"}):
            answer = await client.post("/v1/completions", json={"prompt": _PROMPT}, headers=headers)
            _expect(answer.status_code == 401, f"HTTP with {headers}: {answer.status_code}")
    for key in ("", "wrong"):
        async with AsyncClient(target, api_key=key, timeout=_TIMEOUT_S) as client_:
            try:
                await client_.complete(FimInput(prefix=_PROMPT))
            except UnauthenticatedError:
                continue
            raise CheckError(f"gRPC with the key {key!r}: answered")


async def check_protocols(http: str, target: str, key: str) -> None:
    """Both protocols complete code, whole and streamed, and say that they serve."""
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"http://{http}", headers=headers, timeout=_TIMEOUT_S) as client:
        body = {"prompt": _PROMPT, "max_tokens": 8, "temperature": 0}
        whole = await client.post("/v1/completions", json=body)
        _expect(whole.status_code == 200, f"a completion by HTTP: {whole.status_code} {whole.text}")
        streamed = await client.post("/v1/completions", json=body | {"stream": True})
        _expect(streamed.text.rstrip().endswith("data: [DONE]"), f"a stream by HTTP: {streamed.text}")
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = HealthStub(channel)  # its types know no methods
        health = await stub.Check(HealthCheckRequest(), timeout=_TIMEOUT_S)
        _expect(health.status == HealthCheckResponse.SERVING, f"grpc.health.v1: {health}")
    async with AsyncClient(target, api_key=key, timeout=_TIMEOUT_S) as client_:
        config = GenerationConfig(max_tokens=8, temperature=0)
        try:
            answer = await client_.complete(FimInput(prefix=_PROMPT), generation_config=config)
            parts = [part async for part in client_.stream_complete(FimInput(prefix=_PROMPT), generation_config=config)]
        except ApiError as error:
            raise CheckError(f"by gRPC: {error}") from error
        text = "".join(part.choice.text for part in parts)
        _expect(text == answer.choices[0].text, f"by gRPC, streamed {text!r}, whole {answer.choices[0].text!r}")


async def models(http: str, key: str) -> set[str]:
    """The names of models that the service answers to."""
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, verify=False) as client:
        try:
            answer = await client.get(f"http://{http}/v1/models", headers={"authorization": f"Bearer {key}"})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise CheckError(f"/v1/models: {error!r}") from error
    return {name for model in answer.json()["data"] for name in (model["id"], *model["aliases"])}


async def missing_metrics(pods: Iterable[Pod]) -> list[str]:
    """What is not there yet of Ray's metrics, ours and HAProxy's, which come some seconds after what they count.

    Raises:
      CheckError: a step was compiled after its group was ready.
    """
    values: dict[str, float] = {}
    missing = []
    async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
        for pod in pods:
            answer = await client.get(f"http://{pod.ip}:8080/metrics")
            answer.raise_for_status()
            for family in text_string_to_metric_families(answer.text):
                for sample in family.samples:
                    values[sample.name] = values.get(sample.name, 0.0) + sample.value
            if pod.labels["ray.io/group"] == "gateway":
                haproxy = await client.get(f"http://{pod.ip}:{_HAPROXY_METRICS}/metrics")
                if "haproxy_frontend" not in haproxy.text:
                    missing.append(f"HAProxy's of {pod.name}")
    _expect(values.get("ray_codegemma_recompilations_total", 0) == 0, "steps were compiled after readiness")
    return missing + [name for name in _METRICS if not values.get(name)]


def check_logs(pods: Iterable[Pod], key: str) -> None:
    """The container `logs` prints what Ray Serve logs, as JSON; nothing that is written has a prompt or a key."""
    for pod in pods:
        text = pod.container("logs").output.read_text(errors="replace")
        for line in text.splitlines():
            try:
                json.loads(line)
            except ValueError:
                raise CheckError(f"{pod.name}, container logs: no JSON: {line}") from None
        _expect(bool(text.strip()), f"{pod.name}, container logs: nothing")
    for folder in (FOLDER / "pods").glob("*/*"):
        if folder.name in ("volumes", "containers"):
            for file in _files(folder):
                content = file.read_bytes()
                for word in (SECRET, key):
                    _expect(word.encode() not in content, f"{file} has {word}")


def _files(folder: Path) -> Iterable[Path]:
    return (each for each in folder.rglob("*") if each.is_file() and not each.is_symlink())


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)
