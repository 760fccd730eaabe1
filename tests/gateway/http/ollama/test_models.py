"""The names that Ollama's clients have for models."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.http.ollama.models import named_model
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from serving.models.adapter_directory import AdapterDirectory
from tests.gateway.scripted_backend import ScriptedBackend, served_model


async def test_a_model_that_no_group_answers_for_does_not_run_with_an_adapter_either(
    codegemma: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "team-a").mkdir()
    (tmp_path / "team-a" / "adapter_config.json").write_text("{}")
    backends = {name: ScriptedBackend(codegemma) for name in ("2b", "7b")}
    backends["2b"].answers = False
    models = [
        replace(served_model(backend, name, Role.FIM), adapters=AdapterDirectory(tmp_path))
        for name, backend in backends.items()
    ]
    gateway = GatewayConfig()
    transport = httpx.ASGITransport(build_http_app(lambda: CodeService(models, gateway, access=OpenAccess()), gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        running = (await client.get("/api/ps")).json()["models"]
    assert [each["name"] for each in running] == ["7b", "7b:team-a"]


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
async def test_a_tag_is_left_out_only_where_nothing_has_the_whole_name(
    backend: ScriptedBackend, tmp_path: Path, name: str, model: str
) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "adapter_config.json").write_text("{}")
    adapted = replace(served_model(backend, "it", Role.CHAT), adapters=AdapterDirectory(tmp_path))
    plain = served_model(backend, "2b", Role.FIM, aliases=("gemma:2b",))
    other = served_model(backend, "other", Role.FIM, aliases=("other:latest",))
    find = partial(CodeService([adapted, plain, other], GatewayConfig(), access=OpenAccess()).model, adapters=None)
    assert (await named_model(find, name)).id == model
    with pytest.raises(ServingError) as raised:
        await named_model(find, "unknown:latest")
    assert raised.value.reason is Reason.MODEL_NOT_FOUND
