"""Whatever has a prompt looked at counts as a request of its caller, and is a line of the audit log."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub

from serving.errors import Reason, ServingError
from serving.gateway.audit import AuditLog
from serving.gateway.http.api import api_at
from serving.gateway.http.app import APIS
from tests.gateway.scripted_backend import ScriptedBackend
from tests.security.service import BODIES, Service

COUNTED = [path for path in BODIES if path not in ("/v1/events", "/api/show")]
"""Those two look at names alone."""
_LIMIT = 2


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.jsonl")


@pytest.fixture
def service(tmp_path: Path, backend: ScriptedBackend, log: AuditLog) -> Service:
    return Service(tmp_path, backend, quotas={"per_tenant": {"requests_per_minute": _LIMIT}}, audit=log)


def outcomes(log: AuditLog, path: Path) -> list[tuple[str, str, str]]:
    log.close()
    lines = map(json.loads, (path / "audit.jsonl").read_text().splitlines())
    return [(line["route"], line["tenant"], line["outcome"]) for line in lines]


@pytest.mark.parametrize("path", COUNTED)
async def test_over_http_a_request_too_many_is_refused_and_written_down(
    service: Service, log: AuditLog, tmp_path: Path, path: str
) -> None:
    async with service.http({"x-api-key": service.new_key("acme")}) as client:
        answers = [await client.post(path, json=BODIES[path]) for _ in range(_LIMIT + 1)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    error = json.dumps(answers[-1].json())
    assert "requests_per_minute of the tenant 'acme' is 2" in error
    expected: Any = api_at(path, APIS).error_body(ServingError(Reason.RATE_LIMIT_EXCEEDED, ""))
    assert answers[-1].json().keys() == expected.keys()
    assert int(answers[-1].headers["retry-after"]) > 50
    ends = ["ok"] * _LIMIT + ["rate_limit_exceeded"]
    assert outcomes(log, tmp_path) == [(path, "acme", end) for end in ends]


async def test_over_grpc_counting_tokens_is_counted(service: Service, log: AuditLog, tmp_path: Path) -> None:
    metadata = (("x-api-key", service.new_key("acme")),)
    async with service.grpc() as channel:
        count = CodeAssistServiceStub(channel).CountTokens
        for _ in range(_LIMIT):
            await count(pb.CountTokensRequest(prompt="a"), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await count(pb.CountTokensRequest(prompt="a"), metadata=metadata)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [end for _, _, end in outcomes(log, tmp_path)] == ["ok", "ok", "rate_limit_exceeded"]


@pytest.mark.parametrize("path", COUNTED)
async def test_what_is_wrong_with_a_request_is_written_down_too(
    service: Service, log: AuditLog, tmp_path: Path, path: str
) -> None:
    """One for a model that is not there has been routed; one that cannot be read has not come so far."""
    async with service.http({"x-api-key": service.new_key("acme")}) as client:
        answer = await client.post(path, json=BODIES[path] | {"model": "nothing"})
    assert answer.status_code == 404
    if not path.startswith("/api/"):  # these ask for the model before they know what a request is
        assert outcomes(log, tmp_path) == [(path, "acme", "model_not_found")]
