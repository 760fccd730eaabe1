"""`codegemma cluster doctor`: what the user may do, and the role to ask for."""

from collections.abc import Callable

from tests.cluster.conftest import Findings
from tests.cluster.kubernetes_api import KubernetesApi
from tests.cluster.release import manifests


def test_rights_that_are_missing_are_named_with_the_role_to_ask_for(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    healthy.denied |= {"patch rayservices", "get pods/log"}
    found = examine()["rights"]
    assert [text for _, text, _ in found] == [
        "you may not get pods/log in namespace codegemma",
        "you may not patch rayservices.ray.io in namespace codegemma",
    ]
    assert found[1][2].endswith(
        "kubectl create role -n codegemma codegemma-rayservices --verb=patch --resource=rayservices.ray.io"
    )


def test_rights_for_what_lies_in_no_namespace_take_a_cluster_role(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    healthy.denied.add("create priorityclasses")
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "p"}}
    [(_, text, remedy)] = examine("-f", "-", input=manifests(priority))["rights"]
    assert text == "you may not create priorityclasses.scheduling.k8s.io at all" and "create clusterrole" in remedy


def test_a_release_that_may_not_be_read_is_as_good_as_none(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    healthy.forbidden.add("GET /apis/ray.io/v1/namespaces/codegemma/rayservices")
    healthy.denied.add("get rayservices")
    assert [level for level, _, _ in examine()["rights"]] == ["problem"]
