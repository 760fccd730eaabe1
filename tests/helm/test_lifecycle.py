"""Install, upgrade, rollback and uninstall, with both Helms."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helm.chart import (
    CASE,
    CHART,
    HELMS,
    NAMESPACE,
    RELEASE,
    Case,
    Object,
    fingerprint,
    is_hook,
    merged,
    rendered,
    run,
    values,
)
from tests.helm.cluster import KubernetesApi, postgres
from tests.kubernetes_server import serve

_CASE = CASE["monitoring"]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("postgres")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        with postgres(folder / "data") as where:
            yield where


class Cluster:
    """A cluster as one Helm sees it."""

    def __init__(self, helm: str, url: str, database: str, home: Path) -> None:
        self.api_arguments = ("--kube-apiserver", url, "-n", f"{NAMESPACE}-{helm}")
        self.environment = os.environ | {
            "HELM_DRIVER": "sql",
            "HELM_DRIVER_SQL_CONNECTION_STRING": database,
            "HOME": str(home),
            "KUBECONFIG": str(home / "none"),
        }
        self.helm = helm

    def __call__(self, command: str, *arguments: object, case: Case | None = None) -> str:
        return run(self.helm, command, *self.api_arguments, *arguments, case=case, env=self.environment).stdout

    def release(self, command: str, case: Case) -> str:
        """Installs or upgrades."""
        # Server-side apply is Helm 4's default; what runs here has none.
        applying = () if self.helm == "helm3" else ("--server-side=false",)
        arguments = (RELEASE, CHART, "--disable-openapi-validation", *applying, *values(case))
        return self(command, *arguments, case=case)


@pytest.mark.parametrize("helm", HELMS)
def test_a_release_is_installed_changed_taken_back_and_removed(helm: str, database: str, tmp_path: Path) -> None:
    api = KubernetesApi()
    with serve(api) as url:
        cluster = Cluster(helm, url, database, tmp_path)
        notes = cluster.release("install", _CASE)
        assert "helm test codegemma" in notes and "cluster resize" not in notes
        installed = api.there()
        expected = {(each["kind"], each["metadata"]["name"]) for each in rendered(_CASE) if not is_hook(each)}
        expected -= {("PriorityClass", f"{NAMESPACE}-{RELEASE}")}
        expected |= {("PriorityClass", f"{NAMESPACE}-{helm}-{RELEASE}")}  # of the namespace that the release is in
        assert installed.keys() == expected
        assert f"{RELEASE}\t" in cluster("list")

        grown = merged(_CASE.values, {"gateway": {"maxReplicas": 9}, "monitoring": {"dashboards": {"enabled": False}}})
        notes = cluster.release("upgrade", Case("grown", _CASE.profiles, grown))
        assert "codegemma cluster resize -n codegemma-" in notes
        assert _gateways(api) == 9
        assert ("ConfigMap", "codegemma-dashboard-fim") not in api.there()
        assert len(cluster("history", RELEASE).splitlines()) == 3

        rollback = () if helm == "helm3" else ("--server-side=false",)
        cluster("rollback", RELEASE, "1", *rollback)
        assert _gateways(api) == 6
        assert {key: _spec(each) for key, each in api.there().items()} == {
            key: _spec(each) for key, each in installed.items()
        }

        cluster("uninstall", RELEASE)
        assert not api.there()
        assert RELEASE not in cluster("list").split()


def _gateways(api: KubernetesApi) -> int:
    service = api.there()["RayService", RELEASE]
    maximum: int = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplicas"]
    return maximum


def _spec(each: Object) -> str:
    return fingerprint({key: value for key, value in each.items() if key in ("spec", "data")})
