"""Adapters at the Gateway: chosen by name, listed, and told to groups, metrics and the audit log."""

from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from serving.config import GatewayConfig, Role, RoutingConfig
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.records import RequestRecords
from serving.gateway.request import CodeRequest, End, Piece, TextPrompt
from serving.gateway.service import CodeService
from serving.models.adapter_directory import AdapterDirectory
from serving.telemetry import metrics
from tests.gateway.scripted_backend import ScriptedBackend, served_model
from tests.telemetry.memory_recorder import MemoryRecorder


def add(directory: Path, name: str) -> None:
    (directory / name).mkdir()
    (directory / name / "adapter_config.json").write_text("{}")


@pytest.fixture
def directory(tmp_path: Path) -> AdapterDirectory:
    add(tmp_path, "team-b")
    add(tmp_path, "team-a")
    return AdapterDirectory(tmp_path)


@pytest.fixture
def recorder() -> MemoryRecorder:
    return MemoryRecorder()


@pytest.fixture
def service(backend: ScriptedBackend, directory: AdapterDirectory, recorder: MemoryRecorder) -> CodeService:
    adapted = replace(served_model(backend, "7b", Role.FIM, Role.CHAT, aliases=("big",)), adapters=directory)
    other = served_model(backend, "plain", Role.FIM)
    models = [adapted, other]
    config = GatewayConfig()
    routing = {"roles": {"fim": {"models": {"plain": 1}}}}
    records = RequestRecords(recorder, [model.config for model in models])
    return CodeService(models, config, RoutingConfig.model_validate(routing), records=records, access=OpenAccess())


async def ask(service: CodeService, model: str) -> tuple[set[str], End]:
    """The models that the pieces of an answer name, and its end."""
    async with aclosing(service.generate(CodeRequest(request_id="r", prompt=TextPrompt("x"), model=model))) as answer:
        parts = [part async for part in answer]
    end = parts.pop()
    assert isinstance(end, End)
    return {part.model for part in parts if isinstance(part, Piece)}, end


@pytest.mark.parametrize(
    ("name", "model", "adapter"),
    [("7b:team-a", "7b:team-a", "team-a"), ("big:team-b", "7b:team-b", "team-b"), ("7b", "7b", "")],
)
async def test_the_name_behind_the_colon_chooses_the_adapter_and_the_answer_says_which(
    service: CodeService, backend: ScriptedBackend, recorder: MemoryRecorder, name: str, model: str, adapter: str
) -> None:
    named, end = await ask(service, name)
    assert (named, end.model) == ({model}, model)
    assert [request.adapter for request in backend.requests] == [adapter]
    assert recorder.total(metrics.REQUESTS, model=model, reason="ok") == 1


async def test_models_are_listed_with_their_adapters_as_these_come_and_go(
    service: CodeService, directory: AdapterDirectory, tmp_path: Path
) -> None:
    assert [info.id for info in service.models(None)] == ["7b", "7b:team-a", "7b:team-b", "plain"]
    assert (await service.model("big:team-a", None)).roles == (await service.model("7b", None)).roles
    add(tmp_path, "team-c")
    (tmp_path / "team-a" / "adapter_config.json").unlink()
    directory.scan()
    assert [info.id for info in service.models(None)] == ["7b", "7b:team-b", "7b:team-c", "plain"]
    add(tmp_path, "team-d")  # which another Gateway may have listed already
    assert (await ask(service, "7b:team-d"))[1].model == "7b:team-d"
    (tmp_path / "team-d" / "adapter_config.json").unlink()
    directory.scan()
    with pytest.raises(ServingError, match="7b:team-b, 7b:team-c, plain") as raised:
        await ask(service, "7b:team-a")
    assert raised.value.reason is Reason.MODEL_NOT_FOUND
    assert (await ask(service, "7b:team-c"))[1].model == "7b:team-c"


async def test_where_the_disk_is_silent_those_that_are_known_are_served_and_others_may_be_asked_for_again(
    service: CodeService, directory: AdapterDirectory, recorder: MemoryRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(known: AdapterDirectory, name: str) -> str:
        if not known.stamp(name):
            raise TimeoutError
        return known.stamp(name)

    monkeypatch.setattr(AdapterDirectory, "look", look)
    assert (await ask(service, "7b:team-a"))[1].model == "7b:team-a"
    with pytest.raises(ServingError) as refused:
        await ask(service, "7b:team-x")
    assert refused.value.reason is Reason.UNAVAILABLE
    assert refused.value.retry_after_s
    assert str(refused.value) == (
        "The disk with the adapters of '7b' does not answer, and \"team-x\" is not known yet. Try again."
    )
    assert recorder.total(metrics.REQUESTS, reason="unavailable") == 1
    with pytest.raises(ServingError) as unknown:
        await ask(service, "plain:team-x")  # which has no disk
    assert unknown.value.reason is Reason.MODEL_NOT_FOUND
