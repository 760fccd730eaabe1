"""Adapters that come and go under load: a real model behind a real engine fails no request and compiles nothing."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from serving.engine.engine import Engine
from serving.engine.request import FinishReason, GenerationRequest
from serving.group.adapters import GroupAdapters
from serving.models.adapter_directory import AdapterDirectory
from sharding.batch import Bucket
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.steps import compile_steps
from tests.engine.simulated import Receiver
from tests.group.adapted_model import ADAPTERS, LIMITS, PROMPT, TOKENS, drawn_by_merged_model
from tests.sharding.peft_files import peft_tensors, write_peft
from tests.sharding.random_adapters import model_on
from tests.sharding.small_models import LOCAL


@pytest.fixture(scope="module")
def runner() -> ModelRunner:
    buckets = [Bucket(tokens, LIMITS.max_rows, LIMITS.pages_per_sequence, LIMITS.adapters) for tokens in (2, 16)]
    return ModelRunner(model_on(LOCAL, 1), compile_steps(LOCAL, make_mesh(1), jnp.float32, LIMITS, buckets=buckets))


class Service:
    """An engine over a directory of adapters."""

    def __init__(self, runner: ModelRunner, path: Path) -> None:
        self.path = path
        self.directory = AdapterDirectory(path)
        source = GroupAdapters(self.directory, LOCAL, runner)
        self.engine = Engine(runner, max_queue=64, adapters=source)
        self.answers: dict[str, tuple[str, Receiver]] = {}

    def put(self, name: str, contents: str) -> None:
        """Puts an adapter there, in the place of what had its name."""
        written = write_peft(self.path.parent / "written", peft_tensors(ADAPTERS[contents], factor=2))
        self.remove(name)
        shutil.move(written, self.path / name)
        self.directory.scan()

    def remove(self, name: str) -> None:
        shutil.rmtree(self.path / name, ignore_errors=True)
        self.directory.scan()

    def ask(self, name: str, contents: str) -> None:
        request_id = f"r{len(self.answers)}"
        request = GenerationRequest(request_id=request_id, prompt_ids=PROMPT, max_tokens=TOKENS, adapter=name)
        receiver = Receiver()
        self.answers[request_id] = contents, receiver
        self.engine.submit(request, receiver)


@pytest.fixture
def service(runner: ModelRunner, tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "adapters").mkdir()
    yield Service(runner, tmp_path / "adapters")


def test_adapters_come_change_and_go_under_load_and_no_request_fails_and_nothing_is_compiled(
    service: Service, runner: ModelRunner
) -> None:
    service.put("one", "a")
    service.put("two", "b")
    for round_number in range(4):
        for name, contents in (("one", "a"), ("two", "b"), ("", "")):
            service.ask(name, contents)
        service.engine.step()
        service.put("three", "cd"[round_number % 2])
        service.ask("three", "cd"[round_number % 2])
        while service.engine.step():
            pass
        service.remove("three")
    expected = {contents: drawn_by_merged_model(contents) for contents in ("", *"abcd")}
    assert len({tuple(tokens) for tokens in expected.values()}) == 5
    for contents, receiver in service.answers.values():
        assert receiver.finish_reason is FinishReason.LENGTH
        assert receiver.token_ids == expected[contents]
    assert runner.recompilations == 0


async def test_one_that_the_gateway_has_seen_and_the_group_has_not_is_served(service: Service) -> None:
    write_peft(service.path / "new", peft_tensors(ADAPTERS["a"], factor=2))
    await service.directory.look("new")  # as the group's server does before it submits
    service.ask("new", "a")
    while service.engine.step():
        pass
    ((_, receiver),) = service.answers.values()
    assert receiver.token_ids == drawn_by_merged_model("a")


def test_a_damaged_adapter_fails_its_own_requests_and_the_log_names_file_and_tensor(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.put("good", "a")
    service.put("bad", "b")
    tensors = peft_tensors(ADAPTERS["b"], factor=2)
    name = next(iter(tensors))
    write_peft(service.path / "bad", tensors | {name: np.full_like(tensors[name], np.nan)})
    service.directory.scan()
    service.ask("good", "a")
    service.ask("bad", "b")
    while service.engine.step():
        pass
    (_, good), (_, bad) = service.answers.values()
    assert good.token_ids == drawn_by_merged_model("a")
    assert bad.finish_reason is FinishReason.ADAPTER_FAILED
    error = bad.chunks[-1].error or ""
    assert error.startswith(f"the adapter 'bad' cannot be loaded: adapter_model.safetensors: tensor {name} has")
    assert f"adapter_model.safetensors: tensor {name} has" in caplog.text
