"""The audit log: a line for each request, with who and how much, and never with what."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.prompt_pb2 import FimInput

from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role
from serving.gateway.access import BearerAccess
from serving.gateway.audit import AuditLog, NoAudit, audit_for
from serving.gateway.http.app import build_http_app
from serving.gateway.records import RequestRecords
from serving.gateway.request import CodeRequest, FimPrompt
from serving.gateway.service import CodeService
from serving.telemetry.recorder import NoRecorder
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model

SECRET = "secret_of_the_prompt"


class Audited:
    """A service with one key, and the lines of its audit log."""

    def __init__(self, backend: ScriptedBackend, directory: Path) -> None:
        file, self.key = KeyFile().with_new("ann's editor", "platform", tuple(Role))
        file.write(directory / "keys.yaml")
        self.path = directory / "audit.jsonl"
        self.log = AuditLog(self.path)
        records = RequestRecords(NoRecorder(), audit=self.log)
        model = served_model(backend, "both", Role.FIM, Role.CHAT)
        access = BearerAccess(directory / "keys.yaml")
        self.service = CodeService([model], GatewayConfig(), access=access, records=records)

    async def post(self, body: dict[str, Any]) -> None:
        transport = httpx.ASGITransport(build_http_app(lambda: self.service, GatewayConfig()))
        headers = {"x-api-key": self.key, "x-request-id": "mine"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            await client.post("/v1/completions", json=body)

    def lines(self) -> list[dict[str, Any]]:
        self.log.close()
        text = self.path.read_text()
        assert SECRET not in text
        assert "return" not in text
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def audited(backend: ScriptedBackend, tmp_path: Path) -> Iterator[Audited]:
    yield Audited(backend, tmp_path)


async def test_each_request_is_a_line_with_who_and_how_much(audited: Audited) -> None:
    await audited.post({"prompt": SECRET, "suffix": "b"})
    await audited.post({"prompt": SECRET, "suffix": "b", "temperature": -1})
    answered, refused = audited.lines()
    assert answered.pop("time").endswith("+00:00")
    assert answered.pop("prompt_tokens") > 3
    assert answered.pop("completion_tokens") > 1
    about = {"request_id": "mine", "tenant": "platform", "key": "ann's editor", "route": "/v1/completions"}
    assert answered == about | {"model": "both", "outcome": "ok", "status": 200}
    assert (refused["outcome"], refused["status"], refused["completion_tokens"]) == ("invalid_argument", 400, 0)


async def test_over_grpc_a_line_has_the_method_and_the_code(audited: Audited) -> None:
    message = pb.StreamCompleteRequest(fim=FimInput(prefix=SECRET, suffix="b"))
    async with grpc_server(audited.service) as address, grpc.aio.insecure_channel(address) as channel:
        async for _ in CodeAssistServiceStub(channel).StreamComplete(message, metadata=[("x-api-key", audited.key)]):
            pass
    [line] = audited.lines()
    assert (line["route"], line["status"]) == ("StreamComplete", "OK")


async def test_who_goes_away_is_a_line_too(audited: Audited) -> None:
    chunks = audited.service.generate(CodeRequest(request_id="1", prompt=FimPrompt(prefix=SECRET, suffix="b")))
    await anext(chunks)
    await chunks.aclose()
    [line] = audited.lines()
    assert (line["outcome"], line["status"]) == ("cancelled", 499)


async def test_a_file_that_was_moved_away_is_made_anew(audited: Audited) -> None:
    audited.path.rename(audited.path.with_suffix(".old"))
    await audited.post({"prompt": "a"})
    assert len(audited.lines()) == 1


def test_a_file_that_cannot_be_written_is_named_and_none_is_written_by_default(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gateway\.audit_log is .*No such file or directory.*Make its directory"):
        AuditLog(tmp_path / "none" / "audit.jsonl")
    assert isinstance(audit_for(GatewayConfig().audit_log), NoAudit)


def test_the_log_of_ray_serve_gets_the_same_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ray.serve.audit")
    audit_for("log").request(
        CodeRequest(request_id="1", prompt=FimPrompt(prefix=SECRET, suffix="")), "both", 3, 5, "ok"
    )
    assert json.loads(caplog.messages[0])["completion_tokens"] == 5
    assert SECRET not in caplog.text
