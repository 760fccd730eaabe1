"""Access by API key: the same over HTTP and gRPC, live, and without a word of why not."""

import asyncio
import os
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.feedback_service_pb2 import RecordEventRequest
from codegemma.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from codegemma.v1.model_service_pb2 import GetModelRequest, ListModelsRequest
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub
from codegemma.v1.prompt_pb2 import ChatMessage, FimInput
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from serving.config import GatewayConfig, Role, RoutingConfig
from serving.errors import ServingError
from serving.gateway.access import BearerAccess, LocalAccess, OpenAccess, access_for
from serving.gateway.grpc.service import GrpcService
from serving.gateway.http.app import build_http_app
from serving.gateway.request import CodeRequest, FimPrompt
from serving.gateway.service import CodeService
from serving.gateway.single_flight import SingleFlight
from serving.keys import KeyFile, KeyFileError
from tests.gateway.grpc_server import failure, grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model


class Keys:
    """A key file, and the service that follows it."""

    def __init__(self, path: Path, backend: ScriptedBackend, tenants_share_cache: bool | None = None) -> None:
        self.path = path
        gateway = GatewayConfig(keys_file=path, tenants_share_cache=tenants_share_cache)
        KeyFile().write(path)
        models = [served_model(backend, "both", Role.FIM, Role.CHAT), served_model(backend, "other", Role.FIM)]
        routing = RoutingConfig(
            roles={"fim": {"models": {"both": 1}}, "chat": {"models": {"both": 1}}}, tenants={"apart": {"fim": "other"}}
        )
        self.access = BearerAccess(path)
        self.service = CodeService(models, gateway, routing, self.access)
        self.app = build_http_app(lambda: self.service, gateway)

    def create(self, tenant: str = "", *roles: Role) -> str:
        known = KeyFile.read(self.path)
        file, key = known.with_new(f"somebody {len(known.keys)}", tenant, roles or tuple(Role))
        self.replace(file)
        return key

    def revoke_all(self) -> None:
        self.replace(KeyFile())

    def replace(self, file: KeyFile) -> None:
        file.write(self.path)
        self.access.keys.refresh()

    def http(self, headers: dict[str, str]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


@pytest.fixture
def keys(tmp_path: Path, backend: ScriptedBackend) -> Keys:
    return Keys(tmp_path / "keys.yaml", backend)


FIM = {"prompt": "a", "suffix": "b"}
CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
CALLS = [
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/both", None),
    ("POST", "/v1/completions", FIM),
    ("POST", "/v1/completions", FIM | {"stream": True}),
    ("POST", "/v1/completions", {"prompt": 3}),  # who has no key does not learn what is wrong with a body
    ("POST", "/v1/chat/completions", CHAT),
]


def refused_headers(keys: Keys) -> list[dict[str, str]]:
    key = keys.create()
    return [
        {},
        {"authorization": key},
        {"authorization": f"Basic {key}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {key}x"},
        {"x-api-key": key[:-1]},
    ]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_http_without_a_key_is_401_and_says_no_more(keys: Keys, method, path, body) -> None:
    answers = []
    for headers in refused_headers(keys):
        async with keys.http(headers) as client:
            answers.append(await client.request(method, path, json=body))
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    [text] = {answer.text for answer in answers}
    assert answers[0].json()["error"]["code"] == "unauthenticated"
    assert "cg_" not in text


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER  {} "])
async def test_http_takes_a_bearer_token_however_it_is_written(keys: Keys, header: str) -> None:
    async with keys.http({"authorization": header.format(keys.create())}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        assert (await client.post("/v1/completions", json=FIM)).status_code == 200


async def test_http_takes_the_key_as_x_api_key_too(keys: Keys) -> None:
    async with keys.http({"x-api-key": keys.create()}) as client:
        assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_health_needs_no_key_over_either_protocol(keys: Keys) -> None:
    async with keys.http({}) as client:
        assert (await client.get("/health")).status_code == 200
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest())
    assert answer.status == HealthCheckResponse.SERVING


async def test_grpc_without_a_key_is_unauthenticated_and_says_no_more(keys: Keys) -> None:
    said = set()
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        code, models = CodeAssistServiceStub(channel), ModelServiceStub(channel)
        for headers in refused_headers(keys):
            metadata = [(key, value) for key, value in headers.items() if value.strip() == value]
            for call in (
                code.Complete(pb.CompleteRequest(prompt="a"), metadata=metadata),
                code.StreamComplete(pb.StreamCompleteRequest(prompt="a"), metadata=metadata),
                code.Chat(pb.ChatRequest(), metadata=metadata),
                code.StreamChat(pb.StreamChatRequest(), metadata=metadata),
                code.CountTokens(pb.CountTokensRequest(), metadata=metadata),
                models.ListModels(ListModelsRequest(), metadata=metadata),
                models.GetModel(GetModelRequest(), metadata=metadata),
                FeedbackServiceStub(channel).RecordEvent(RecordEventRequest(), metadata=metadata),
            ):
                error, details = await failure(call)
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
                assert details[ErrorInfo].reason == "UNAUTHENTICATED"
                said.add(error.details())
    assert len(said) == 1


async def test_grpc_takes_the_key_in_either_metadata(keys: Keys) -> None:
    key = keys.create()
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        stub = CodeAssistServiceStub(channel)
        for metadata in ([("authorization", f"Bearer {key}")], [("x-api-key", key)]):
            answer = await stub.Complete(pb.CompleteRequest(fim=FimInput(prefix="a", suffix="b")), metadata=metadata)
            assert answer.choices[0].text == "return 1"


async def test_a_key_works_from_when_it_is_made_until_it_is_revoked(keys: Keys) -> None:
    other = keys.create()
    key = keys.create()
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        keys.revoke_all()
        assert (await client.get("/v1/models")).status_code == 401
    async with keys.http({"authorization": f"Bearer {other}"}) as client:
        assert (await client.get("/v1/models")).status_code == 401


async def accepted(keys: Keys, key: str) -> None:
    """Waits until a key works."""
    async with asyncio.timeout(30):
        while True:
            with suppress(ServingError):
                await keys.access.caller("", key, "")
                return
            await asyncio.sleep(0)


async def test_requests_are_answered_by_the_old_keys_while_a_changed_file_is_read(keys: Keys, monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    read_text = Path.read_text

    def read_slowly(path: Path) -> str:
        begun.set()
        assert go_on.wait(30)
        return read_text(path)

    old = keys.create()
    file, new = KeyFile.read(keys.path).with_new("new", "", tuple(Role))
    monkeypatch.setattr(Path, "read_text", read_slowly)
    file.write(keys.path)
    assert await asyncio.to_thread(begun.wait, 30)  # though nobody asked
    assert (await keys.access.caller("", old, "")).roles
    with pytest.raises(ServingError):
        await keys.access.caller("", new, "")
    go_on.set()
    await accepted(keys, new)


async def test_a_request_never_looks_at_the_file(keys: Keys, monkeypatch) -> None:
    """It may be on a disk that is slow to answer, or that does not answer at all."""
    key, here = keys.create(), threading.current_thread()

    def stat(path: Path) -> os.stat_result:
        assert threading.current_thread() is not here
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as slow:
        slow.setattr(os, "stat", stat)
        assert (await keys.access.caller("", key, "")).roles


def test_a_file_is_followed_for_as_long_as_somebody_wants_its_keys(tmp_path: Path) -> None:
    KeyFile().write(tmp_path / "keys.yaml")
    before = set(threading.enumerate())
    access = BearerAccess(tmp_path / "keys.yaml")
    [thread] = set(threading.enumerate()) - before
    del access
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("break_file", [Path.unlink, lambda path: path.write_text("keys: 7")])
async def test_a_file_that_cannot_be_read_changes_nothing(keys: Keys, break_file, caplog) -> None:
    key = keys.create()
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        break_file(keys.path)
        keys.access.keys.refresh()
        assert (await client.get("/v1/models")).status_code == 200
        assert "the API keys stay as they were" in caplog.text
        keys.revoke_all()
        assert (await client.get("/v1/models")).status_code == 401


@pytest.mark.parametrize(
    "failure", [PermissionError(13, "Permission denied"), OSError(24, "Too many open files"), MemoryError()]
)
async def test_a_read_that_failed_is_tried_again_and_logged_once(keys: Keys, failure, monkeypatch, caplog) -> None:
    def fail(path: Path) -> str:
        raise failure

    key = keys.create()
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        with monkeypatch.context() as broken:
            broken.setattr(Path, "read_text", fail)
            for _ in range(3):
                keys.revoke_all()
                assert (await client.get("/v1/models")).status_code == 200
        assert caplog.text.count("the API keys stay as they were") == 1
        keys.access.keys.refresh()
        assert (await client.get("/v1/models")).status_code == 401


def test_a_file_that_is_no_key_file_is_not_read_again_until_it_changes(keys: Keys, monkeypatch, caplog) -> None:
    keys.path.write_text("keys: 7")
    keys.access.keys.refresh()
    monkeypatch.setattr(Path, "read_text", None)
    for _ in range(3):
        keys.access.keys.refresh()
    assert caplog.text.count("the API keys stay as they were") == 1


async def test_a_change_of_the_same_size_at_the_same_time_counts(keys: Keys) -> None:
    """What was restored from a copy, or put there by a tool that sets times, has its old time of modification."""
    key = keys.create()
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.get("/v1/models")).status_code == 200
        before = keys.path.stat()
        [entry] = KeyFile.read(keys.path).keys
        keys.path.write_text(keys.path.read_text().replace(entry.sha256, entry.sha256[::-1]))
        os.utime(keys.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = keys.path.stat()
        assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
        keys.access.keys.refresh()
        assert (await client.get("/v1/models")).status_code == 401


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
    service = CodeService([model], GatewayConfig(keys_file=path, tenants_share_cache=tenants_share_cache))
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
    service = CodeService([served_model(backend, "both", Role.FIM)], gateway)
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
    service = CodeService([served_model(backend, "both", Role.FIM)], GatewayConfig())
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


async def test_a_key_for_completion_is_refused_chat(keys: Keys) -> None:
    key = keys.create("", Role.FIM)
    async with keys.http({"authorization": f"Bearer {key}"}) as client:
        assert (await client.post("/v1/completions", json=FIM)).status_code == 200
        answer = await client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "permission_denied"
    assert "chat" in answer.json()["error"]["message"]
    message = ChatMessage(role=ChatMessage.ROLE_USER, text="Hi")
    async with grpc_server(keys.service) as address, grpc.aio.insecure_channel(address) as channel:
        error, _ = await failure(
            CodeAssistServiceStub(channel).Chat(pb.ChatRequest(messages=[message]), metadata=[("x-api-key", key)])
        )
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_text_goes_to_a_role_that_the_key_may_use(keys: Keys) -> None:
    """Text to continue is for the FIM model, but a chat model can do it too."""
    for role in Role:
        async with keys.http({"x-api-key": keys.create("", role)}) as client:
            assert (await client.post("/v1/completions", json={"prompt": "a"})).status_code == 200


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


class CallFrom:
    """The context of a gRPC call, as Ray Serve gives it, from a peer as gRPC writes it."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.code: grpc.StatusCode | None = None
        self.details = ""

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str | bytes]]) -> None:
        pass


HERE = ["ipv4:127.0.0.1:4", "ipv4:127.0.0.9:4", "ipv6:[::1]:4", "ipv6:%5B::1%5D:4", "ipv6:%5B::ffff:127.0.0.1%5D:4"]
ELSEWHERE = ["ipv4:10.0.0.7:4", "ipv6:%5Bfe80::1%25eth0%5D:4", "ipv6:[2001:db8::1]:4", "ipv6:[::ffff:10.0.0.7]:4", ""]


@pytest.mark.parametrize("peer", HERE + ELSEWHERE)
async def test_without_keys_grpc_from_elsewhere_is_refused(backend: ScriptedBackend, peer: str) -> None:
    """Ray Serve has a Gateway listen for gRPC on every interface, wherever the service listens."""
    context = CallFrom(peer)
    await GrpcService(local_service(backend, GatewayConfig()), GatewayConfig()).ListModels(b"", context)
    if peer in HERE:
        assert context.code is None
    else:
        assert context.code is grpc.StatusCode.UNAUTHENTICATED
        assert "gateway.keys_file" in context.details


@pytest.mark.parametrize("peer", ELSEWHERE)
async def test_where_anyone_may_ask_grpc_answers_from_everywhere(backend: ScriptedBackend, peer: str) -> None:
    context, gateway = CallFrom(peer), GatewayConfig(anyone=True)
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
        GatewayConfig(anyone=True, keys_file="keys.yaml")
