"""Every row of the table in docs/errors.md, over both protocols, and that the server goes on."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import pytest
from codegemma.v1.code_assist_service_pb2 import CompleteRequest, CompleteResponse
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import FimInput
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from serving.errors import WIRE_ERRORS, Reason
from tests.service.conftest import CHAT, FIM, Service

_DOCS = Path(__file__).parents[2] / "docs" / "errors.md"
_TOO_LONG = "x = compute(1, 2, 3)\n" * 2000  # far more than 4096 tokens
_BIG = "a" * 20_000_000
_METHOD = "/codegemma.v1.CodeAssistService/Complete"


@dataclass(frozen=True)
class Case:
    """One bad request in both protocols' bytes, and the answer each must get: (reason, field or "")."""

    http: bytes
    http_error: tuple[Reason, str]
    grpc: bytes
    grpc_error: tuple[Reason, str]


def _http(**fields: object) -> bytes:
    return json.dumps({"model": FIM, "prompt": "a", "suffix": "b"} | fields).encode()


def _grpc(fim: FimInput | None = None, model: str = FIM, prompt: str | None = None, **config: Any) -> bytes:
    request = CompleteRequest(model=model, generation_config=GenerationConfig(**config))
    if prompt is None:
        request.fim.CopyFrom(fim or FimInput(prefix="a", suffix="b"))
    else:
        request.prompt = prompt
    return request.SerializeToString()


CASES = {
    "prompt longer than the context": Case(
        _http(prompt=_TOO_LONG),
        (Reason.CONTEXT_LENGTH_EXCEEDED, "prompt"),
        _grpc(prompt=_TOO_LONG),  # code at a place in a file would be cut
        (Reason.CONTEXT_LENGTH_EXCEEDED, "prompt"),
    ),
    "empty prompt": Case(
        _http(prompt="", suffix=None),
        (Reason.INVALID_ARGUMENT, "prompt"),
        _grpc(prompt=""),
        (Reason.INVALID_ARGUMENT, "prompt"),
    ),
    "invalid UTF-8": Case(
        b'{"model": "' + FIM.encode() + b'", "prompt": "\xff\xfe"}',
        (Reason.MALFORMED_BODY, ""),
        b"\x1a\x02\xff\xfe",  # field 3, `prompt`
        (Reason.MALFORMED_BODY, ""),
    ),
    "wrong type": Case(
        _http(max_tokens="many"),
        (Reason.INVALID_ARGUMENT, "max_tokens"),
        b"\x18\x01",  # field 3, `prompt`, as a number: protobuf skips it as a field that it does not know
        (Reason.INVALID_ARGUMENT, "input"),
    ),
    "negative parameter": Case(
        _http(temperature=-1),
        (Reason.INVALID_ARGUMENT, "temperature"),
        _grpc(temperature=-1),
        (Reason.INVALID_ARGUMENT, "generation_config.temperature"),
    ),
    "huge parameter": Case(
        _http(n=10**9),
        (Reason.INVALID_ARGUMENT, "n"),
        _grpc(choices=10**9),
        (Reason.INVALID_ARGUMENT, "generation_config.choices"),
    ),
    "unknown model": Case(
        _http(model="gpt-5"),
        (Reason.MODEL_NOT_FOUND, "model"),
        _grpc(model="gpt-5"),
        (Reason.MODEL_NOT_FOUND, "model"),
    ),
    "FIM to a chat-only model": Case(
        _http(model=CHAT),
        (Reason.ROLE_NOT_SERVED, "model"),
        _grpc(model=CHAT),
        (Reason.ROLE_NOT_SERVED, "model"),
    ),
    "20 MB body": Case(
        _http(prompt=_BIG),
        (Reason.BODY_TOO_LARGE, ""),
        _grpc(FimInput(prefix=_BIG, suffix="b")),
        (Reason.BODY_TOO_LARGE, ""),
    ),
    "malformed message": Case(
        b'{"prompt": "a",',
        (Reason.MALFORMED_BODY, ""),
        b"\xff\xff\xff\x01",
        (Reason.MALFORMED_BODY, ""),
    ),
}


@pytest.fixture(autouse=True)
def _the_server_goes_on(service: Service, channel: grpc.Channel) -> Iterator[None]:
    yield
    assert httpx.post(f"{service.url}/v1/completions", content=_http(max_tokens=1), timeout=60).status_code == 200
    assert _complete(channel)(_grpc(max_tokens=1), timeout=60).choices


@pytest.mark.parametrize("name", CASES)
def test_http(service: Service, name: str) -> None:
    reason, field = CASES[name].http_error
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{service.url}/v1/completions", content=CASES[name].http, headers=headers, timeout=60)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"] or "") == (WIRE_ERRORS[reason].http_status, reason, field)
    _check_message(error["message"], field)


@pytest.mark.parametrize("name", CASES)
def test_grpc(channel: grpc.Channel, name: str) -> None:
    reason, field = CASES[name].grpc_error
    with pytest.raises(grpc.RpcError) as failed:
        _complete(channel)(CASES[name].grpc, timeout=60)
    assert failed.value.code() == WIRE_ERRORS[reason].grpc_code
    if reason is Reason.BODY_TOO_LARGE:
        return  # gRPC's own answer
    _check_message(failed.value.details() or "", field)
    info, violation = ErrorInfo(), BadRequest()
    status = rpc_status.from_call(cast(grpc.Call, failed.value))  # it is both
    assert status is not None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(violation)
    assert (info.reason, info.domain) == (reason.upper(), "codegemma.v1")
    assert [found.field for found in violation.field_violations] == ([field] if field else [])


def test_the_docs_have_the_same_rows() -> None:
    table = _DOCS.read_text().split("## Bad input")[1]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert rows[1:] == list(CASES)


def test_the_docs_list_every_reason() -> None:
    table = _DOCS.read_text().split("## Reasons")[1].split("##")[0]
    for reason, wire in WIRE_ERRORS.items():
        assert f"| `{reason}` | {wire.http_status}" in table
        assert wire.grpc_code.name in next(line for line in table.splitlines() if f"`{reason}`" in line)


def _complete(channel: grpc.Channel) -> Callable[..., CompleteResponse]:
    return channel.unary_unary(_METHOD, response_deserializer=CompleteResponse.FromString)


def _check_message(message: str, field: str) -> None:
    assert message.endswith("."), "a sentence for people"
    assert "Traceback" not in message
    assert ".py" not in message
    assert field.split(".")[-1] in message
