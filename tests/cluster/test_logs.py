"""`codegemma cluster logs`: the lines of all pods in one stream."""

from collections.abc import Iterator
from typing import cast

import pytest

from serving.cluster.connection import Cluster
from serving.cluster.errors import ClusterError
from serving.cluster.logs import Container, follow_logs
from tests.cluster import release
from tests.cluster.conftest import Run
from tests.cluster.kubernetes_api import KubernetesApi

PODS = "/api/v1/namespaces/codegemma/pods"
TWO = [{"name": "ray-head"}, {"name": "autoscaler"}]


@pytest.fixture
def installed(api: KubernetesApi) -> KubernetesApi:
    api.add("ray.io/v1/rayservices", release.service())
    api.add("v1/pods", release.pod("gateway-0", "gateway"))
    api.add("v1/pods", release.pod("chat-0", "chat"))
    return api


def test_lines_are_in_the_order_of_time_each_with_its_pod(installed: KubernetesApi, cluster: Run) -> None:
    installed[f"get {PODS}/gateway-0/log"] << b"2026-01-01T00:00:01Z one\n2026-01-01T00:00:03Z three [x]\n"
    installed[f"get {PODS}/chat-0/log"] << b"2026-01-01T00:00:02Z two\n"
    result = cluster("logs")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["gateway-0 one", "chat-0 two", "gateway-0 three [x]"]


def test_one_group_and_how_far_back(installed: KubernetesApi, cluster: Run) -> None:
    installed[f"get {PODS}/chat-0/log"] << b"2026-01-01T00:00:02Z two\n"
    assert cluster("logs", "--group", "chat", "--since", "2h").stdout == "chat-0 two\n"
    [request] = installed[f"get {PODS}/chat-0/log"]
    assert request.params == {"container": "ray-worker", "sinceSeconds": "7200", "timestamps": "true"}


def test_with_several_containers_a_line_names_its_own(installed: KubernetesApi, cluster: Run) -> None:
    installed.add("v1/pods", release.pod("head", "headgroup", containers=TWO))
    installed[f"get {PODS}/head/log"] << b"2026-01-01T00:00:01Z up\n"
    result = cluster("logs", "--group", "headgroup")
    assert sorted(result.stdout.splitlines()) == ["head/autoscaler up", "head/ray-head up"]


def test_containers_that_run_beside_a_pod_s_own_are_read_too(installed: KubernetesApi, cluster: Run) -> None:
    running = [{"name": "logs", "state": {"running": {}}}]
    spec = {"initContainers": [{"name": "logs", "restartPolicy": "Always"}]}
    installed.add("v1/pods", release.pod("gateway-1", "beside", spec=spec, initContainerStatuses=running))
    installed[f"get {PODS}/gateway-1/log"] << b"2026-01-01T00:00:01Z up\n"
    result = cluster("logs", "--group", "beside")
    assert sorted(result.stdout.splitlines()) == ["gateway-1/logs up", "gateway-1/ray-worker up"]


def test_follow_shows_lines_as_they_come_and_ends_with_the_last_pod(installed: KubernetesApi, cluster: Run) -> None:
    installed[f"get {PODS}/gateway-0/log"] << (b"one\ntw", b"o\n", b"three")
    installed[f"get {PODS}/chat-0/log"] << (b"four\n",)
    result = cluster("logs", "--follow")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("gateway-0")] == [
        f"gateway-0 {n}" for n in ("one", "two", "three")
    ]
    assert "chat-0 four" in lines
    assert all(request.params["follow"] == "true" for request in installed[f"get {PODS}/chat-0/log"])


def test_follow_finds_pods_that_appear_later(
    installed: KubernetesApi, cluster: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.cluster.logs._LOOK_AGAIN_S", 0)

    def chat_then_fim() -> bytes:
        installed.add("v1/pods", release.pod("fim-0", "fim"))
        return b"four\n"

    installed[f"get {PODS}/fim-0/log"] << b"five\n"
    installed[f"get {PODS}/gateway-0/log"] << b"one\n"
    installed[f"get {PODS}/chat-0/log"] << chat_then_fim
    result = cluster("logs", "--follow")
    assert sorted(result.stdout.splitlines()) == ["chat-0 four", "fim-0 five", "gateway-0 one"]


def test_when_one_stream_breaks_the_others_go_on() -> None:
    class Breaking:
        namespace = "codegemma"

        def lines(self, path: str, **_query: str) -> Iterator[str]:
            yield "one"
            if "chat-0" in path:
                raise ClusterError("its node is gone")
            yield "two"

    both = [Container("chat-0", "ray-worker", alone=True), Container("fim-0", "ray-worker", alone=True)]
    lines = {(str(line.container), line.text) for line in follow_logs(cast(Cluster, Breaking()), lambda: both, 600)}
    assert lines == {
        ("chat-0", "one"), ("chat-0", "(no more: its node is gone)"), ("fim-0", "one"), ("fim-0", "two")
    }  # fmt: skip


def test_a_log_that_may_not_be_read(installed: KubernetesApi, cluster: Run) -> None:
    installed.forbidden.add(f"GET {PODS}/chat-0/log")
    for args in ((), ("--follow",)):
        result = cluster("logs", "--group", "chat", *args)
        assert result.exit_code == 2 and f"no right to GET {PODS}/chat-0/log" in " ".join(result.stderr.split())


def test_a_group_without_pods_names_those_with_some(installed: KubernetesApi, cluster: Run) -> None:
    waiting = {"name": "ray-worker", "state": {"waiting": {"reason": "ContainerCreating"}}}
    installed.add("v1/pods", release.pod("fim-0", "fim", phase="Pending", containerStatuses=[waiting]))
    result = cluster("logs", "--group", "fim")
    assert result.exit_code == 2
    assert "no started pod in group 'fim'; groups with pods: chat, fim, gateway." in " ".join(result.stderr.split())


@pytest.mark.parametrize("since", ["10", "m", "-1m", "1w"])
def test_a_duration_that_is_none(cluster: Run, since: str) -> None:
    result = cluster("logs", f"--since={since}")
    assert result.exit_code == 2 and "is no duration" in result.stderr
