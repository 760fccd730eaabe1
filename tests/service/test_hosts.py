"""A replica group of several hosts over Ray Serve: the tokens of one device, and what happens when a host hangs."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from ray import serve

from serving.app import application
from serving.config import ModelConfig, ServingConfig
from serving.engine.request import GenerationRequest
from serving.errors import Reason, ServingError
from serving.gateway.groups.pool import GroupPool
from serving.supervision.processes import service_processes
from sharding.step import SamplingParams
from tests.gateway.collected import Collected, collected
from tests.service.conftest import APP, FIM, Service, groups_of
from tests.service.tiny_codegemma import write_tiny_codegemma
from tests.sharding.peft_files import write_peft

pytestmark = pytest.mark.timeout(300)
PROMPTS = [tuple(range(100, 100 + length)) for length in (3, 20)]
_APP = "hosts"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_codegemma(tmp_path_factory.mktemp("tiny-on-hosts")))


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, checkpoint: str) -> str:
    """A directory with one adapter of the attention's queries."""
    directory, rng = tmp_path_factory.mktemp("adapters"), np.random.default_rng(1)
    config = json.loads((Path(checkpoint) / "config.json").read_text())
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        module = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        outputs = config["num_attention_heads"] * config["head_dim"]
        tensors[f"{module}.lora_A.weight"] = rng.standard_normal((4, config["hidden_size"]), np.float32)
        tensors[f"{module}.lora_B.weight"] = rng.standard_normal((outputs, 4), np.float32)
    write_peft(directory / "team-a", tensors, target_modules=["q_proj"])
    return str(directory)


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, service: Service, checkpoint: str, adapters: str) -> Iterator[ModelConfig]:
    model = {
        "id": f"tiny-on-{request.param}-hosts",
        "checkpoint": checkpoint,
        "roles": ["fim"],
        "dtype": "float32",
        "topology": {"hosts": request.param, "chips_per_host": 2},
        "limits": {"max_rows": 1, "max_step_tokens": 16, "max_context": 128, "kv_tokens": 256},
        "step_timeout_s": 10,
        "adapters": {"directory": adapters, "max_loaded": 2, "max_rank": 4},
    }
    config = ServingConfig.model_validate({"models": [model]})
    serve.run(application(config), name=_APP, route_prefix=None)
    yield config.models[0]
    serve.delete(_APP)


def request(prompt: tuple[int, ...], temperature: float = 0.0, tokens: int = 8, adapter: str = "") -> GenerationRequest:
    return GenerationRequest(
        request_id=uuid4().hex,
        prompt_ids=prompt,
        max_tokens=tokens,
        sampling=SamplingParams(temperature=temperature, seed=5),
        adapter=adapter,
    )


async def generated(groups: GroupPool, request: GenerationRequest) -> list[int]:
    return (await collected(groups, request)).ids


@pytest.mark.parametrize("model", [2, 4], ids=["2x2", "4x2"], indirect=True)
async def test_several_hosts_give_the_tokens_of_one_device(service: Service, model: ModelConfig) -> None:
    async with groups_of(model, _APP) as several_hosts, groups_of(service.model(FIM), APP) as one_device:
        for prompt in PROMPTS:
            for temperature in (0.0, 1.0):
                tokens = await generated(several_hosts, request(prompt, temperature))
                assert len(tokens) == 8
                assert tokens == await generated(one_device, request(prompt, temperature))
        with_adapter = [await generated(several_hosts, request(PROMPTS[1], adapter="team-a")) for _ in range(2)]
        assert with_adapter[0] == with_adapter[1] != await generated(several_hosts, request(PROMPTS[1]))
    assert await serve.get_deployment_handle(model.id, _APP).recompilations.remote() == 0


@pytest.mark.parametrize("model", [2], ids=["2x2"], indirect=True)
async def test_a_host_that_hangs_in_a_step_is_replaced_with_its_group(model: ModelConfig) -> None:
    async with groups_of(model, _APP) as groups, asyncio.timeout(120):
        expected = await generated(groups, request(PROMPTS[0]))
        hung = service_processes()["host"][1]
        begun = Collected()
        groups.submit(request(PROMPTS[1], tokens=100), begun)
        await begun.begun.wait()
        hung.send_signal(signal.SIGSTOP)
        waiting = asyncio.create_task(generated(groups, request(PROMPTS[0])))
        with pytest.raises(ServingError) as error:
            await begun.end()
        assert error.value.reason is Reason.UNAVAILABLE
        assert await waiting == expected  # by the group that followed
        await asyncio.to_thread(hung.wait, 30)  # what hangs is ended too


@pytest.mark.parametrize("model", [2], ids=["2x2"], indirect=True)
async def test_a_host_that_hangs_between_requests_is_replaced_with_its_group(model: ModelConfig) -> None:
    async with groups_of(model, _APP) as groups, asyncio.timeout(120):
        expected = await generated(groups, request(PROMPTS[0]))
        hung = service_processes()["host"][1]
        hung.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(hung.wait, 60)
        assert await generated(groups, request(PROMPTS[0])) == expected
