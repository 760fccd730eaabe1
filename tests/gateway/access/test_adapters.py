"""A key or a token may name the adapters that it may use; the others are not told, and not found."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from codegemma.v1.code_assist_service_pb2 import CompleteRequest, CountTokensRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.model_service_pb2 import GetModelRequest, ListModelsRequest
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub

from serving.access.keys import KeyFile
from serving.config import GatewayConfig, Role
from serving.gateway.access import BearerAccess
from serving.gateway.http.api import ApiRoute
from serving.gateway.http.app import APIS, build_http_app
from serving.gateway.service import CodeService
from serving.models.adapter_directory import AdapterDirectory
from tests.gateway.access.issuer import token
from tests.gateway.access.test_tokens import Tried
from tests.gateway.grpc_server import failure, grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model

ALL = ["7b", "7b:team-a", "7b:team-b"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("team-a", "team-b"):
        (tmp_path / "adapters" / name).mkdir(parents=True)
        (tmp_path / "adapters" / name / "adapter_config.json").write_text("{}")
    return tmp_path


class Asked:
    """The service, as the holder of a key with some adapters finds it."""

    def __init__(self, directory: Path, backend: ScriptedBackend, adapters: tuple[str, ...] | None) -> None:
        file, key = KeyFile().with_new("ann", "", tuple(Role), adapters)
        file.write(directory / "keys.yaml")
        model = served_model(backend, "7b", *Role, aliases=("big",))
        models = [replace(model, adapters=AdapterDirectory(directory / "adapters"))]
        gateway = GatewayConfig(keys_file=directory / "keys.yaml")
        service = CodeService(models, gateway, access=BearerAccess(directory / "keys.yaml"))
        transport = httpx.ASGITransport(build_http_app(lambda: service, gateway))
        headers = {"authorization": f"Bearer {key}"}
        self.service = service
        self.headers = list(headers.items())
        self.http = httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)

    async def listed(self, path: str, field: str, name: str = "id") -> list[str]:
        return [each[name] for each in (await self.http.get(path)).json()[field]]

    async def asked(self, model: str) -> httpx.Response:
        return await self.http.post("/v1/completions", json={"model": model, "prompt": "a", "max_tokens": 1})


@pytest.mark.parametrize(
    ("adapters", "listed"),
    [(None, ALL), ((), ALL[:1]), (("7b:team-b",), ["7b", "7b:team-b"]), (("9b:team-a",), ["7b"])],
)
async def test_models_are_listed_with_the_adapters_that_a_key_may_use(
    directory: Path, backend: ScriptedBackend, adapters: tuple[str, ...] | None, listed: list[str]
) -> None:
    asked = Asked(directory, backend, adapters)
    assert await asked.listed("/v1/models", "data") == listed
    assert await asked.listed("/api/tags", "models", "name") == listed


async def test_one_that_a_key_may_not_use_is_not_told_from_one_that_is_not_there(
    directory: Path, backend: ScriptedBackend
) -> None:
    asked = Asked(directory, backend, ("7b:team-b",))
    for name in ("7b:team-b", "big:team-b", "7b"):
        assert (await asked.asked(name)).status_code == 200
    told: list[Any] = []
    for name in ("team-a", "team-x"):
        for path in (f"7b:{name}", f"big:{name}"):
            responses = [await asked.asked(path), await asked.http.get(f"/v1/models/{path}")]
            assert [response.status_code for response in responses] == [404, 404]
            told.append([response.text.replace(path, "NAME") for response in responses])
    assert all(each == told[0] for each in told)
    assert "7b:team-b" in told[0][0] and "team-a" not in told[0][0]


ROUTES = list({(route.method, route.path): route for api in APIS for route in api.routes}.values())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_no_route_tells_of_one_that_a_key_may_not_use(
    directory: Path, backend: ScriptedBackend, route: ApiRoute
) -> None:
    asked = Asked(directory, backend, ("7b:team-b",))
    path = re.sub(r"\{[^}]*\}", "7b:team-x", route.path)
    for model in ({}, {"model": "7b"}, {"model": "7b:team-x"}):
        body = None if route.example is None else {**route.example, "stream": False, **model}
        answer = await asked.http.request(route.method, path, json=body)
        assert "team-a" not in f"{answer.headers} {answer.text}"


async def test_grpc_tells_of_none_that_a_key_may_not_use(directory: Path, backend: ScriptedBackend) -> None:
    asked = Asked(directory, backend, ("7b:team-b",))
    async with grpc_server(asked.service) as address, grpc.aio.insecure_channel(address) as channel:
        models, code = ModelServiceStub(channel), CodeAssistServiceStub(channel)
        listed = await models.ListModels(ListModelsRequest(), metadata=asked.headers)
        assert [model.id for model in listed.models] == ["7b", "7b:team-b"]
        told: list[str] = []
        for name in ("7b:team-a", "7b:team-x", "big:team-a"):
            for call in (
                models.GetModel(GetModelRequest(model=name), metadata=asked.headers),
                code.Complete(CompleteRequest(prompt="a", model=name), metadata=asked.headers),
                code.CountTokens(CountTokensRequest(prompt="a", model=name), metadata=asked.headers),
            ):
                error, _ = await failure(call)
                assert error.code() is grpc.StatusCode.NOT_FOUND
                told.append((error.details() or "").replace(name, "NAME"))
        assert "team-a" not in f"{told}"
        assert len({*told}) == 1


async def test_the_disk_is_asked_only_for_adapters_that_a_key_may_use(
    directory: Path, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    async def look(known: AdapterDirectory, name: str) -> str:
        looked.append(name)
        return known.stamp(name)

    monkeypatch.setattr(AdapterDirectory, "look", look)
    asked = Asked(directory, backend, ("7b:team-b", "7b:team-c"))
    for name in ("team-c", "team-x"):  # neither is there
        assert (await asked.asked(f"7b:{name}")).status_code == 404
    assert "team-c" in looked
    assert "team-x" not in looked  # or the time that it takes would tell it from one that is there


@pytest.mark.parametrize(
    ("said", "adapters"),
    [(["7b:team-a", 7], ["7b:team-a"]), ("7b:team-a 7b:team-b", ["7b:team-a", "7b:team-b"]), (None, []), (7, [])],
)
async def test_a_token_may_use_what_its_claim_says_and_all_where_no_claim_is_asked_for(
    said: object, adapters: list[str]
) -> None:
    sent = token(adapters=said)
    assert (await Tried(adapters_claim="adapters").tokens.caller(sent)).adapters == frozenset(adapters)
    assert (await Tried().tokens.caller(sent)).adapters is None
