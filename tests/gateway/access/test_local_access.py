"""Without keys: this machine alone is answered, or anyone where the operator says so."""

from pathlib import Path

import grpc
import httpx
import pytest
from codegemma.v1.model_service_pb2 import ListModelsRequest
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub

from serving.access.keys import KeyFile, KeyFileError
from serving.config import GatewayConfig, Role
from serving.gateway.access import BearerAccess, LocalAccess, OpenAccess, access_for
from serving.gateway.grpc.service import GrpcService
from serving.gateway.http.app import build_http_app
from serving.gateway.service import CodeService
from tests.gateway.access.keys import FIM, Keys
from tests.gateway.call_context import CallContext
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_on_this_machine_alone_no_key_is_needed(host: str) -> None:
    assert isinstance(access_for(GatewayConfig(), host), LocalAccess)
    assert isinstance(access_for(GatewayConfig(anyone=True), host), OpenAccess)


def local_service(backend: ScriptedBackend, gateway: GatewayConfig) -> CodeService:
    return CodeService([served_model(backend, "both", Role.FIM)], gateway, access=access_for(gateway, "127.0.0.1"))


async def test_without_keys_this_machine_is_answered_over_either_protocol(backend: ScriptedBackend) -> None:
    service = local_service(backend, GatewayConfig())
    app = build_http_app(lambda: service, GatewayConfig())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        assert (await client.post("/v1/completions", json=FIM)).status_code == 200
    async with grpc_server(service) as address, grpc.aio.insecure_channel(address) as channel:
        assert (await ModelServiceStub(channel).ListModels(ListModelsRequest())).models


HERE = ["ipv4:127.0.0.1:4", "ipv4:127.0.0.9:4", "ipv6:[::1]:4", "ipv6:%5B::1%5D:4", "ipv6:%5B::ffff:127.0.0.1%5D:4"]
ELSEWHERE = ["ipv4:10.0.0.7:4", "ipv6:%5Bfe80::1%25eth0%5D:4", "ipv6:[2001:db8::1]:4", "ipv6:[::ffff:10.0.0.7]:4", ""]


@pytest.mark.parametrize("peer", HERE + ELSEWHERE)
async def test_without_keys_grpc_from_elsewhere_is_refused(backend: ScriptedBackend, peer: str) -> None:
    """Ray Serve has a Gateway listen for gRPC on every interface, wherever the service listens."""
    context = CallContext(peer)
    await GrpcService(local_service(backend, GatewayConfig()), GatewayConfig()).ListModels(b"", context)
    if peer in HERE:
        assert context.code is None
    else:
        assert context.code is grpc.StatusCode.UNAUTHENTICATED
        assert "gateway.keys_file" in context.details


@pytest.mark.parametrize("peer", ELSEWHERE)
async def test_where_anyone_may_ask_grpc_answers_from_everywhere(backend: ScriptedBackend, peer: str) -> None:
    context, gateway = CallContext(peer), GatewayConfig(anyone=True)
    await GrpcService(local_service(backend, gateway), gateway).ListModels(b"", context)
    assert context.code is None


async def test_with_keys_grpc_answers_from_everywhere(keys: Keys) -> None:
    caller = await keys.service.access.caller(f"Bearer {keys.create('a')}", "", "", "10.0.0.7")
    assert caller.tenant == "a"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gateway.example", ""])
def test_beyond_this_machine_keys_are_required(host: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gateway\.keys_file is not set.*codegemma keys create"):
        access_for(GatewayConfig(), host)
    assert isinstance(access_for(GatewayConfig(anyone=True), host), OpenAccess)
    with pytest.raises(KeyFileError, match="codegemma keys create"):
        access_for(GatewayConfig(keys_file=tmp_path / "keys.yaml"), host)
    KeyFile().write(tmp_path / "keys.yaml")
    assert isinstance(access_for(GatewayConfig(keys_file=tmp_path / "keys.yaml"), host), BearerAccess)


def test_anyone_and_keys_contradict_each_other() -> None:
    with pytest.raises(ValueError, match=r"anyone=true, but keys_file='keys\.yaml'"):
        GatewayConfig(anyone=True, keys_file=Path("keys.yaml"))
