"""`/v1/status`: how it stands with each model's groups, for whoever may ask."""

from pathlib import Path

import httpx

from serving.access.keys import KeyFile
from serving.autoscaling.config import AutoscalingConfig
from serving.config import GatewayConfig, LimitsConfig, ModelConfig, Role
from serving.gateway.access.bearer import BearerAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.http.playground.status import model_status_object
from serving.gateway.service import CodeService
from serving.gateway.status import BackendStatus, GroupState, GroupStatus, ModelStatus
from tests.gateway.scripted_backend import ScriptedBackend, served_model


def config(**fields: object) -> ModelConfig:
    return ModelConfig.model_validate({"id": "m", "checkpoint": "a checkpoint", "roles": ["chat"], **fields})


async def test_it_says_of_each_model_what_its_groups_do(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    [model] = (await client.get("/v1/status")).json()["models"]
    assert model["id"] == "codegemma-test"
    assert model["groups"] == [{"id": "scripted", "state": "ready", "requests": 0}]
    backend.answers = False
    [model] = (await client.get("/v1/status")).json()["models"]
    assert model["groups"][0]["state"] == "unreachable"


def test_rows_and_limits_are_those_of_the_configuration() -> None:
    groups = (GroupStatus("a", GroupState.READY, 7), GroupStatus("b", GroupState.LEAVING, 1))
    model = config(replicas=3, limits=LimitsConfig(max_rows=6, max_queue=9))
    assert model_status_object(ModelStatus(model, BackendStatus(waiting=2, groups=groups))) == {
        "id": "m",
        "waiting": 2,
        "max_waiting": 9,
        "rows_per_group": 6,
        "min_groups": 3,
        "max_groups": 3,
        "groups": [{"id": "a", "state": "ready", "requests": 7}, {"id": "b", "state": "leaving", "requests": 1}],
    }


def test_an_autoscaled_model_may_have_more_or_fewer_groups() -> None:
    model = config(autoscaling=AutoscalingConfig(min_replicas=0, max_replicas=4))
    said = model_status_object(ModelStatus(model, BackendStatus()))
    assert (said["min_groups"], said["max_groups"], said["groups"]) == (0, 4, [])


async def test_it_takes_a_key_where_keys_are_asked_for(backend: ScriptedBackend, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    file, key = KeyFile().with_new("ann", "platform", (Role.FIM,))
    file.write(path)
    service = CodeService(
        [served_model(backend, "m", Role.FIM)], GatewayConfig(keys_file=path), access=BearerAccess(path)
    )
    app = build_http_app(lambda: service, GatewayConfig(keys_file=path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        refused = await client.get("/v1/status")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthenticated")
        answer = await client.get("/v1/status", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        assert "platform" not in answer.text and "ann" not in answer.text
        assert (await client.get("/")).status_code == 200  # the page asks for the key
