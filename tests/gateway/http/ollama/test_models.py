"""The names that Ollama's clients have for models."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from serving.adapter_directory import AdapterDirectory
from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.http.ollama.models import named_model
from serving.gateway.service import CodeService
from tests.gateway.scripted_backend import ScriptedBackend, served_model


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("2b", "2b"),
        ("2b:latest", "2b"),
        ("gemma:2b", "2b"),
        ("gemma:2b:latest", "2b"),
        ("it", "it"),
        ("it:latest", "it:latest"),  # its adapter
        ("it:latest:latest", "it:latest"),
        ("other:latest", "other"),
    ],
)
def test_a_tag_is_left_out_only_where_nothing_has_the_whole_name(
    backend: ScriptedBackend, tmp_path: Path, name: str, model: str
) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "adapter_config.json").write_text("{}")
    adapted = replace(served_model(backend, "it", Role.CHAT), adapters=AdapterDirectory(tmp_path))
    plain = served_model(backend, "2b", Role.FIM, aliases=("gemma:2b",))
    other = served_model(backend, "other", Role.FIM, aliases=("other:latest",))
    find = partial(CodeService([adapted, plain, other], GatewayConfig()).model, adapters=None)
    assert named_model(find, name).id == model
    with pytest.raises(ServingError) as raised:
        named_model(find, "unknown:latest")
    assert raised.value.reason is Reason.MODEL_NOT_FOUND
