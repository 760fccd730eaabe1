"""A replica group of several hosts over Ray Serve: the tokens of one device."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from ray import serve

from serving.app import application
from serving.config import ModelConfig, ServingConfig
from serving.engine.request import GenerationRequest, SamplingParams
from serving.gateway.groups.pool import GroupPool
from tests.service.conftest import APP, FIM, Service, groups_of
from tests.service.tiny_codegemma import write_tiny_codegemma

pytestmark = pytest.mark.timeout(300)
PROMPTS = [tuple(range(100, 100 + length)) for length in (3, 20)]
_APP = "hosts"


@pytest.fixture(params=[2, 4], ids=["2x2", "4x2"])
def model(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> Iterator[ModelConfig]:
    model = {
        "id": f"tiny-on-{request.param}-hosts",
        "checkpoint": str(write_tiny_codegemma(tmp_path)),
        "roles": ["fim"],
        "dtype": "float32",
        "topology": {"hosts": request.param, "chips_per_host": 2},
        "limits": {"max_rows": 1, "max_step_tokens": 16, "max_context": 128, "kv_tokens": 256},
    }
    config = ServingConfig.model_validate({"models": [model]})
    serve.run(application(config), name=_APP, route_prefix=None)
    yield config.models[0]
    serve.delete(_APP)


async def generated(groups: GroupPool, prompt: tuple[int, ...], temperature: float) -> list[int]:
    request = GenerationRequest(
        request_id=uuid4().hex,
        prompt_ids=prompt,
        max_tokens=8,
        sampling=SamplingParams(temperature=temperature, seed=5),
    )
    return [token.id async for chunk in groups.generate(request) for token in chunk.tokens]


async def test_several_hosts_give_the_tokens_of_one_device(service: Service, model: ModelConfig) -> None:
    async with groups_of(model, _APP) as several_hosts, groups_of(service.model(FIM), APP) as one_device:
        for prompt in PROMPTS:
            for temperature in (0.0, 1.0):
                tokens = await generated(several_hosts, prompt, temperature)
                assert len(tokens) == 8
                assert tokens == await generated(one_device, prompt, temperature)
    assert await serve.get_deployment_handle(model.id, _APP).recompilations.remote() == 0
