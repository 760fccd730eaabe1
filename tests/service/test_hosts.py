"""A replica group of several hosts over Ray Serve: the tokens of one device."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from ray import serve
from ray.serve.handle import DeploymentHandle

from serving.config import ModelConfig
from serving.engine.request import GenerationRequest, SamplingParams
from serving.group.leader import ReplicaGroup
from tests.service.conftest import FIM, Service
from tests.service.tiny_codegemma import write_tiny_codegemma

pytestmark = pytest.mark.timeout(300)
PROMPTS = [tuple(range(100, 100 + length)) for length in (3, 20)]
_APP = "hosts"


@pytest.fixture(params=[2, 4], ids=["2x2", "4x2"])
def group(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> Iterator[DeploymentHandle]:
    model = ModelConfig.model_validate(
        {
            "id": f"tiny-on-{request.param}-hosts",
            "checkpoint": str(write_tiny_codegemma(tmp_path)),
            "roles": ["fim"],
            "dtype": "float32",
            "topology": {"hosts": request.param, "chips_per_host": 2},
            "limits": {"max_rows": 1, "max_step_tokens": 16, "max_context": 128, "kv_tokens": 256},
        }
    )
    options = model.topology.deployment_options({})
    deployment = serve.deployment(name=model.id, health_check_period_s=1.0, **options)
    yield serve.run(deployment(ReplicaGroup).bind(model), name=_APP, route_prefix=None)
    serve.delete(_APP)


def generated(handle: DeploymentHandle, prompt: tuple[int, ...], temperature: float) -> list[int]:
    request = GenerationRequest(
        request_id=uuid4().hex,
        prompt_ids=prompt,
        max_tokens=8,
        sampling=SamplingParams(temperature=temperature, seed=5),
    )
    chunks = handle.options(stream=True).generate.remote(request)
    return [token.id for chunk in chunks for token in chunk.tokens]


def test_several_hosts_give_the_tokens_of_one_device(group: DeploymentHandle) -> None:
    one_device = serve.get_deployment_handle(FIM, "codegemma")
    for prompt in PROMPTS:
        for temperature in (0.0, 1.0):
            tokens = generated(group, prompt, temperature)
            assert len(tokens) == 8
            assert tokens == generated(one_device, prompt, temperature)
    assert group.recompilations.remote().result(timeout_s=30) == 0
