"""`codegemma cluster` with a kubeconfig whose context `test` is a Kubernetes API in memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from serving.cli.main import app
from tests.cluster.kubernetes_api import KubernetesApi
from tests.kubernetes_server import serve

type Run = Callable[..., Result]


@pytest.fixture
def api() -> KubernetesApi:
    return KubernetesApi()


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the kubeconfig that is used: an API server with the contexts `test`, the current one, and `other`."""

    def write(url: str) -> Path:
        context = {"cluster": "here", "user": "ada", "namespace": "codegemma"}
        document = {
            "current-context": "test",
            "contexts": [{"name": name, "context": context} for name in ("test", "other")],
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "users": [{"name": "ada", "user": {"token": "t"}}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        monkeypatch.setenv("KUBECONFIG", str(path))
        return path

    return write


@pytest.fixture
def cluster(api: KubernetesApi, kubeconfig: Callable[[str], Path]) -> Iterator[Run]:
    """Runs `codegemma cluster ...` against the API in memory."""
    with serve(api) as url:
        kubeconfig(url)
        yield run


def run(*args: str, input: str | None = None) -> Result:
    wide = {"COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(app, ["cluster", *args], input=input, env=wide, catch_exceptions=False)
