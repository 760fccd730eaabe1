"""`codegemma cluster` with a kubeconfig whose context `test` is a Kubernetes API in memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from serving.cli.main import app
from tests.cluster import release
from tests.cluster.kubernetes_api import KubernetesApi
from tests.kubernetes_server import serve

type Run = Callable[..., Result]
type Findings = dict[str, list[tuple[str, str, str]]]


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


@pytest.fixture
def examine(cluster: Run) -> Callable[..., Findings]:
    def examine(*args: str, input: str | None = None, status: int | None = None) -> Findings:
        result = cluster("doctor", "--json", *args, input=input)
        found: Findings = {}
        for one in json.loads(result.stdout):
            found.setdefault(one["subject"], []).append((one["level"], one["text"], one["remedy"]))
        problems = any(level == "problem" for findings in found.values() for level, _, _ in findings)
        assert result.exit_code == (1 if problems else 0)
        return found

    return examine


@pytest.fixture
def healthy(api: KubernetesApi) -> KubernetesApi:
    """A cluster that has all that an installation with one TPU group of two hosts needs."""
    api.add("apiextensions.k8s.io/v1/customresourcedefinitions", release.crd("authOptions"))
    api.add("v1/pods", release.operator())
    for name in ("tpu-0", "tpu-1"):
        api.add("v1/nodes", release.tpu_node(name))
    api.add("v1/nodes", release.node("cpu-0"))
    return api


def run(*args: str, input: str | None = None) -> Result:
    wide = {"COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(app, ["cluster", *args], input=input, env=wide, catch_exceptions=False)
