"""Tenants: whose request it is, and whose sessions and cache."""

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.prompt_pb2 import FimInput

from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.request import CodeRequest, FimPrompt
from serving.gateway.service import CodeService
from serving.gateway.single_flight import SingleFlight
from tests.gateway.access.keys import FIM, Keys
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model


async def test_the_tenant_is_the_keys_whatever_the_request_says(keys: Keys) -> None:
    apart, elsewhere = keys.create("apart"), keys.create("elsewhere")
    async with keys.http({"x-tenant-id": "apart"}) as client:
        for key, model in ((apart, "other"), (elsewhere, "both")):
            answer = await client.post("/v1/completions", json=FIM, headers={"authorization": f"Bearer {key}"})
            assert answer.json()["model"] == model
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        for key, model in ((apart, "other"), (elsewhere, "both")):
            answer = await CodeAssistServiceStub(channel).Complete(
                pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b")),
                metadata=[("x-api-key", key), ("x-tenant-id", "apart")],
            )
            assert answer.model == model


async def test_the_same_session_id_of_two_tenants_is_two_sessions(keys: Keys, backend: ScriptedBackend) -> None:
    for tenant in ("a", "b"):
        async with keys.http({"x-api-key": keys.create(tenant), "x-session-id": "editor"}) as client:
            await client.post("/v1/completions", json=FIM)
    first, second = backend.requests
    assert first.session_id != second.session_id


async def test_answers_of_two_tenants_to_requests_of_one_id_have_ids_of_their_own(keys: Keys) -> None:
    ids = set()
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        message = pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b"), request_id="mine")
        for tenant in ("a", "b"):
            metadata = [("x-api-key", keys.create(tenant))]
            ids.add((await CodeAssistServiceStub(channel).Complete(message, metadata=metadata)).completion_id)
    assert len(ids) == 2


async def cache_domains(keys: Keys, backend: ScriptedBackend, *api_keys: str) -> list[str]:
    """Of one request with each of these keys, over each protocol."""
    backend.requests.clear()
    for key in api_keys:
        async with keys.http({"x-api-key": key}) as client:
            await client.post("/v1/completions", json=FIM)
    by_http = [request.cache_domain for request in backend.requests]
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        message = pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b"))
        for key in api_keys:
            await CodeAssistServiceStub(channel).Complete(message, metadata=[("x-api-key", key)])
    assert [request.cache_domain for request in backend.requests] == by_http * 2
    return by_http


async def test_the_keys_of_a_tenant_share_what_is_cached_and_no_others(keys: Keys, backend: ScriptedBackend) -> None:
    domains = await cache_domains(keys, backend, *map(keys.create, ("a", "a", "b")))
    assert domains[0] == domains[1] != domains[2]
    assert "" not in domains


async def test_a_key_without_a_tenant_is_a_tenant_of_its_own(keys: Keys, backend: ScriptedBackend) -> None:
    one, other = keys.create(), keys.create()
    named_like_it = keys.create(one.split("_")[1])
    assert len(set(await cache_domains(keys, backend, one, other, named_like_it))) == 3
    backend.requests.clear()
    for key in (one, other, named_like_it, one):
        async with keys.http({"x-api-key": key, "x-session-id": "editor"}) as client:
            await client.post("/v1/completions", json=FIM)
    first, *others, again = (request.session_id for request in backend.requests)
    assert len({first, *others}) == 3
    assert again == first


async def test_tenants_share_what_is_cached_where_the_operator_says_so(
    tmp_path: Path, backend: ScriptedBackend
) -> None:
    keys = Keys(tmp_path / "keys.yaml", backend, tenants_share_cache=True)
    assert len(set(await cache_domains(keys, backend, *map(keys.create, ("a", "b", ""))))) == 1


@pytest.mark.parametrize(("tenants_share_cache", "computed"), [(None, 2), (True, 1)])
async def test_equal_requests_of_two_tenants_are_computed_once_only_where_the_operator_says_so(
    tmp_path: Path, backend: ScriptedBackend, tenants_share_cache: bool | None, computed: int
) -> None:
    path = tmp_path / "keys.yaml"
    KeyFile().write(path)
    backend.pause_at = 1  # the first is still computed when the other comes
    model = replace(served_model(backend, "both", Role.FIM), backend=SingleFlight(backend))
    service = CodeService(
        [model], GatewayConfig(keys_file=path, tenants_share_cache=tenants_share_cache), access=OpenAccess()
    )
    prompt = FimPrompt(prefix="a", suffix="b")
    requests = [CodeRequest(prompt=prompt, tenant=name, owner=f"tenant:{name}") for name in "ab"]
    both = [service.generate(request) for request in requests]
    await asyncio.gather(*map(anext, both))
    assert len(backend.requests) == computed
    for chunks in both:
        await chunks.aclose()


@pytest.mark.parametrize(("tenants_share_cache", "domains"), [(None, 1), (True, 1), (False, 2)])
async def test_without_keys_all_share_what_is_cached_unless_told_otherwise(
    backend: ScriptedBackend, tenants_share_cache: bool | None, domains: int
) -> None:
    gateway = GatewayConfig(anyone=True, tenants_share_cache=tenants_share_cache)
    service = CodeService([served_model(backend, "both", Role.FIM)], gateway, access=OpenAccess())
    transport = httpx.ASGITransport(build_http_app(lambda: service, gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for tenant in ("a", "b"):
            await client.post("/v1/completions", json=FIM, headers={"x-tenant-id": tenant})
    assert len({request.cache_domain for request in backend.requests}) == domains


NEIGHBOURS = [("acme", "eu/x"), ("acme/eu", "x"), ("", "acme/eu/x"), ("4:acme", "x"), ("4", "acme/x"), ("a", ":4:a/x")]


async def test_no_tenant_and_session_are_anothers_however_they_are_written(
    keys: Keys, backend: ScriptedBackend
) -> None:
    for tenant, session in NEIGHBOURS:
        async with keys.http({"x-api-key": keys.create(tenant), "x-session-id": session}) as client:
            await client.post("/v1/completions", json=FIM)
    assert len({request.session_id for request in backend.requests}) == len(NEIGHBOURS)


async def test_the_same_holds_for_tenants_that_requests_name(backend: ScriptedBackend) -> None:
    service = CodeService([served_model(backend, "both", Role.FIM)], GatewayConfig(), access=OpenAccess())
    app = build_http_app(lambda: service, GatewayConfig())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        for tenant, session in NEIGHBOURS:
            headers = {"x-tenant-id": tenant, "x-session-id": session}
            assert (await client.post("/v1/completions", json=FIM, headers=headers)).status_code == 200
    message = pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b"))
    async with grpc_server(service) as address, grpc.aio.insecure_channel(address) as channel:
        for tenant, session in NEIGHBOURS:
            metadata = [("x-tenant-id", tenant), ("x-session-id", session)]
            await CodeAssistServiceStub(channel).Complete(message, metadata=metadata)
    by_http, by_grpc = backend.requests[: len(NEIGHBOURS)], backend.requests[len(NEIGHBOURS) :]
    sessions = [request.session_id for request in by_http]
    assert len(set(sessions)) == len(NEIGHBOURS)
    assert [request.session_id for request in by_grpc] == sessions  # one session, whatever the protocol
