"""`codegemma cluster doctor`: what it finds, and what it says to do about it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import release
from tests.cluster.conftest import Run
from tests.cluster.kubernetes_api import KubernetesApi

CHECKOUT = Path(__file__).parents[2]

type Findings = dict[str, list[tuple[str, str, str]]]


@pytest.fixture
def healthy(api: KubernetesApi) -> KubernetesApi:
    """A cluster that has all that an installation with one TPU group of two hosts needs."""
    api.add("apiextensions.k8s.io/v1/customresourcedefinitions", release.crd("authOptions"))
    api.add("v1/pods", release.operator())
    for name in ("tpu-0", "tpu-1"):
        api.add("v1/nodes", release.tpu_node(name))
    api.add("v1/nodes", release.node("cpu-0"))
    return api


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


def manifests(*objects: dict[str, Any]) -> str:
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service()
    return yaml.safe_dump_all(objects or [service])


def test_a_cluster_that_has_everything(healthy: KubernetesApi, cluster: Run) -> None:
    result = cluster("doctor", "-f", "-", input=manifests())
    assert result.exit_code == 0, result.output
    assert "problems: 0, warnings: 0" in result.stdout
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert any(line.startswith("ok cluster Kubernetes v1.") for line in lines)
    assert "ok KubeRay operator quay.io/kuberay/operator:v1.6.1 in namespace kuberay-system" in lines
    nodes = "2 x google.com/tpu (tpu-v5-lite-podslice 2x4): 4 a node"
    assert f"ok nodes 3 ready, {nodes}" in lines


def test_each_problem_has_a_remedy_and_the_status_is_1(api: KubernetesApi, cluster: Run) -> None:
    del api.resources["ray.io/v1/rayservices"]
    result = cluster("doctor")
    assert result.exit_code == 1
    assert "the cluster does not know rayservices.ray.io" in result.stdout
    assert "helm install kuberay-operator" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("operator", "level", "text"),
    [
        ({"image": "quay.io/kuberay/operator:v1.5.1"}, "ok", "operator:v1.5.1"),
        ({"image": "quay.io/kuberay/operator:v1.4.2"}, "problem", "is too old: authOptions"),
        ({"image": "quay.io/kuberay/operator:nightly"}, "warning", "its tag is no version"),
        ({"ready": "False"}, "problem", "is not ready"),
    ],
)
def test_the_operator(
    healthy: KubernetesApi, examine: Callable[..., Findings], operator: dict[str, str], level: str, text: str
) -> None:
    healthy.add("v1/pods", release.operator(**operator))
    [(found, said, _)] = examine()["KubeRay operator"]
    assert found == level and text in said


def test_an_operator_out_of_sight_is_a_warning(api: KubernetesApi, examine: Callable[..., Findings]) -> None:
    [(level, text, _)] = examine()["KubeRay operator"]
    assert level == "warning" and "no pod of it is visible" in text


def operator_policy(*peers: dict[str, Any], port: Any = 8265, **changes: Any) -> dict[str, Any]:
    """A policy that guards the head, and lets these reach the dashboard."""
    spec = {
        "podSelector": {"matchLabels": {"app.kubernetes.io/instance": "codegemma", "ray.io/node-type": "head"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": list(peers), "ports": [{"protocol": "TCP", "port": port}]}],
    }
    return {"metadata": {"name": "codegemma-operator"}, "spec": spec | changes}


ANY_NAMESPACE = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
}
ITS_NAMESPACE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kuberay-system"}}}


@pytest.fixture
def guarded(healthy: KubernetesApi) -> KubernetesApi:
    """The cluster with a release whose pods nothing may reach."""
    service = release.service()
    labels = {"app.kubernetes.io/instance": "codegemma", "app.kubernetes.io/component": "head"}
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["metadata"] = {"labels": labels}
    healthy.add("ray.io/v1/rayservices", service)
    ours = {"matchLabels": {"app.kubernetes.io/instance": "codegemma"}}
    deny = {"metadata": {"name": "codegemma-deny"}, "spec": {"podSelector": ours, "policyTypes": ["Ingress"]}}
    healthy.add("networking.k8s.io/v1/networkpolicies", deny)
    return healthy


@pytest.mark.parametrize(
    "policy",
    [
        operator_policy(ANY_NAMESPACE),
        operator_policy(ITS_NAMESPACE),
        operator_policy(ANY_NAMESPACE, port="dashboard"),
        operator_policy({"ipBlock": {"cidr": "10.0.0.0/28"}}),
        operator_policy(),
        operator_policy(ANY_NAMESPACE, ingress=[{"from": [ANY_NAMESPACE]}]),
    ],
)
def test_policies_that_let_the_operator_reach_the_head(
    guarded: KubernetesApi, examine: Callable[..., Findings], policy: dict[str, Any]
) -> None:
    guarded.add("networking.k8s.io/v1/networkpolicies", policy)
    assert [level for level, _, _ in examine()["network policies"]] == ["ok"]


@pytest.mark.parametrize(
    "policy",
    [
        operator_policy({"podSelector": {}}),  # of the release's own namespace
        operator_policy(ANY_NAMESPACE, port=8000),
        operator_policy({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}),
        operator_policy(ANY_NAMESPACE, podSelector={"matchLabels": {"ray.io/node-type": "worker"}}),
    ],
)
def test_policies_that_do_not(guarded: KubernetesApi, examine: Callable[..., Findings], policy: dict[str, Any]) -> None:
    guarded.add("networking.k8s.io/v1/networkpolicies", policy)
    [(level, text, remedy)] = examine()["network policies"]
    assert level == "warning" and "no pod of KubeRay's operator is visible that they let reach port 8265" in text
    assert "networkPolicy.operator" in remedy and "ipBlock" in remedy


def test_an_operator_out_of_sight_of_the_policies_is_a_warning(
    guarded: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    del guarded.objects["v1/pods", "kuberay-system", "kuberay-operator-0"]
    guarded.add("networking.k8s.io/v1/networkpolicies", operator_policy(ANY_NAMESPACE))
    [(level, text, remedy)] = examine()["network policies"]
    assert level == "warning" and text.startswith("codegemma-deny, codegemma-operator: ")
    assert "let in the pods k8s-app=konnectivity-agent of kube-system" in remedy
    tunnel = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "konnectivity-agent"}},
    }
    guarded.add("networking.k8s.io/v1/networkpolicies", operator_policy(tunnel))
    assert examine()["network policies"][0][0] == "ok"


def test_policies_to_be_installed_count_as_well(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service()
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["metadata"] = {
        "labels": {"app.kubernetes.io/instance": "codegemma"}
    }
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"} | operator_policy({"podSelector": {}})
    assert examine("-f", "-", input=manifests(service, policy))["network policies"][0][0] == "warning"
    policy["spec"] = operator_policy(ITS_NAMESPACE)["spec"]
    assert examine("-f", "-", input=manifests(service, policy))["network policies"][0][0] == "ok"


@pytest.mark.parametrize("name", ["kuberay-operator", "kuberay"], ids=["by its chart", "by its kustomization"])
def test_policies_of_this_repository_let_in_the_operator_however_it_was_installed(
    healthy: KubernetesApi, examine: Callable[..., Findings], name: str
) -> None:
    healthy.add("v1/pods", release.operator(name=name))
    files = [*(CHECKOUT / "k8s" / "base").glob("*.yaml"), *(CHECKOUT / "k8s" / "overlays" / "gpu").glob("*.yaml")]
    rendered = [file.read_text() for file in files if file.name != "kustomization.yaml"]
    assert examine("-f", "-", input="\n---\n".join(rendered))["network policies"][0][0] == "ok"
    del healthy.objects["v1/pods", "kuberay-system", "kuberay-operator-0"]
    assert examine("-f", "-", input="\n---\n".join(rendered))["network policies"][0][0] == "warning"


def test_policies_that_may_not_be_listed_are_a_warning(
    guarded: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    guarded.forbidden.add("GET /apis/networking.k8s.io/v1/namespaces/codegemma/networkpolicies")
    assert [(level, text[:12]) for level, text, _ in examine()["network policies"]] == [("warning", "not examined")]


def test_a_crd_without_token_authentication_is_too_old(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    healthy.add("apiextensions.k8s.io/v1/customresourcedefinitions", release.crd("rayVersion"))
    assert ("problem", "Update the CRDs") in [(level, remedy[:15]) for level, _, remedy in examine()["RayService"]]


_OPTIONS = {
    "tlsOptions": ({"enabled": True}, "tlsOptions", "RayClusterMTLS"),
    "gcsFaultToleranceOptions": (
        {"backend": "rocksdb", "storage": {"size": "1Gi"}},
        "gcsFaultToleranceOptions.storage",
        "GCSFaultToleranceEmbeddedStorage",
    ),
}


@pytest.mark.parametrize("option", _OPTIONS)
def test_what_came_with_a_newer_kuberay_takes_its_definition_its_operator_and_a_feature_gate(
    healthy: KubernetesApi, examine: Callable[..., Findings], option: str
) -> None:
    setting, field, gate = _OPTIONS[option]
    service = yaml.safe_load(manifests())
    service["spec"]["rayClusterConfig"][option] = setting

    def problems() -> list[str]:
        found = examine("-f", "-", input=manifests(service))
        return [text for name in ("RayService", "KubeRay operator") for level, text, _ in found[name] if level != "ok"]

    older = release.crd("authOptions", "gcsFaultToleranceOptions.redisAddress")
    healthy.add("apiextensions.k8s.io/v1/customresourcedefinitions", older)
    [definition, operator] = problems()
    assert f"no {field}:" in definition and f"is too old: {field}" in operator and "1.7.0" in operator

    healthy.add("apiextensions.k8s.io/v1/customresourcedefinitions", release.crd("authOptions", field))
    image, off = "quay.io/kuberay/operator:v1.7.0", f"--feature-gates=RayMultiHostIndexing=true,{gate}=false"
    healthy.add("v1/pods", release.operator(image, args=["--config", "/etc/config.yaml", off]))
    [operator] = problems()
    assert f"its feature gate {gate} is off" in operator

    healthy.add("v1/pods", release.operator(image, args=[off.replace("false", "true")]))
    assert not problems()


def test_kinds_of_the_manifests_that_the_cluster_does_not_know(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "m"}}
    [(level, _, remedy)] = examine("-f", "-", input=manifests(monitor))["PodMonitor"]
    assert level == "problem" and remedy.startswith("Install the Prometheus operator")


def test_a_namespace_that_is_missing(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    found = examine("--namespace", "elsewhere")["namespace"]
    assert found == [("problem", "elsewhere does not exist", "Create it: kubectl create namespace elsewhere")]


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


def test_nodes_of_another_topology_do_not_help(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    service = release.service(release.tpu_group())
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    group["template"]["spec"]["nodeSelector"] = release.V5E | {"cloud.google.com/gke-tpu-topology": "4x4"}
    healthy.add("ray.io/v1/rayservices", service)
    [(level, text, remedy)] = examine()["accelerators of chat"]
    assert level == "problem" and "no node has google.com/tpu and these labels" in text
    assert "Add a TPU node pool of topology 4x4" in remedy


def test_chips_that_other_pods_hold_are_not_free(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    other = release.pod("training", "x", node="tpu-1", containers=[chips(4)])
    other["metadata"] |= {"namespace": "research", "labels": {}}
    healthy.add("v1/pods", other)
    [(level, text, _)] = examine("-f", "-", input=manifests())["accelerators of chat"]
    assert level == "problem" and text.endswith("there is room for 0")


def test_chips_that_the_release_holds_are_its_own(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    for number in range(2):
        healthy.add("v1/pods", release.pod(f"chat-{number}", "chat", node=f"tpu-{number}", containers=[chips(4)]))
    healthy.add("ray.io/v1/rayservices", release.service(release.tpu_group(most=2)))
    [(level, text, _)] = examine()["accelerators of chat"]
    assert level == "warning" and text.endswith("autoscaling may want 4, there is room for 2 now")


def test_chips_of_a_release_whose_name_is_only_a_part_of_its_service_s(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service()
    service["metadata"] = {"name": "prod-codegemma", "labels": {"app.kubernetes.io/instance": "prod"}}
    for number in range(2):
        pod = release.pod(f"chat-{number}", "chat", node=f"tpu-{number}", containers=[chips(4)])
        pod["metadata"]["labels"]["app.kubernetes.io/instance"] = "prod"
        healthy.add("v1/pods", pod)
    assert examine("-f", "-", input=manifests(service))["accelerators of chat"][0][0] == "ok"
    healthy.add("ray.io/v1/rayservices", service)
    assert examine("--release", "prod")["accelerators of chat"][0][0] == "ok"


def test_an_upgrade_needs_room_for_a_second_cluster(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    healthy.add("ray.io/v1/rayservices", release.service(release.tpu_group()))
    [(level, text, _)] = examine()["upgrade"]
    assert level == "ok" and "has room" in text  # nothing of the release runs yet
    for number in range(2):
        pod = release.pod(f"chat-{number}", "chat", node=f"tpu-{number}", containers=[chips(4)])
        healthy.add("v1/pods", pod)
    [(level, text, remedy)] = examine()["upgrade"]
    assert level == "warning" and "2 x 4 google.com/tpu" in text and text.endswith("there is room for 0")
    assert "ray.upgradeStrategy: None" in remedy
    [(level, _, _)] = examine("-f", "-", input=manifests())["upgrade"]
    assert level == "warning"
    healthy.add("v1/configmaps", {"metadata": {"name": "cluster-autoscaler-status", "namespace": "kube-system"}})
    assert "upgrade" not in examine()  # more nodes may come


def test_an_upgrade_without_a_second_cluster_needs_no_room(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    assert "upgrade" not in examine("-f", "-", input=manifests())  # the first installation is none
    service = release.service(release.tpu_group())
    service["spec"]["upgradeStrategy"] = {"type": "None"}
    healthy.add("ray.io/v1/rayservices", service)
    assert "upgrade" not in examine()


def test_two_groups_do_not_get_the_same_chips(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    healthy.add("ray.io/v1/rayservices", release.service(release.tpu_group("a"), release.tpu_group("b")))
    found = examine()
    assert found["accelerators of a"][0][0] == "ok"
    assert found["accelerators of b"][0][:2] == (
        "problem",
        "2 x 4 google.com/tpu with cloud.google.com/gke-tpu-accelerator=tpu-v5-lite-podslice, "
        "cloud.google.com/gke-tpu-topology=2x4: there is room for 0",
    )


def test_with_an_autoscaler_of_nodes_missing_nodes_are_a_warning(
    api: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    api.add("v1/configmaps", {"metadata": {"name": "cluster-autoscaler-status", "namespace": "kube-system"}})
    api.add("ray.io/v1/rayservices", release.service())
    assert examine()["accelerators of chat"][0][0] == "warning"


def test_the_hosts_of_a_group_must_be_of_one_slice(api: KubernetesApi, examine: Callable[..., Findings]) -> None:
    for name, pool in (("tpu-0", "a"), ("tpu-1", "b"), ("tpu-2", "c"), ("tpu-3", "c")):
        node = release.tpu_node(name)
        node["metadata"]["labels"]["cloud.google.com/gke-nodepool"] = pool
        api.add("v1/nodes", node)
    api.add("ray.io/v1/rayservices", release.service(release.tpu_group("a"), release.tpu_group("b")))
    found = examine()
    assert found["accelerators of a"][0][1].endswith("there is room for 2")
    assert found["accelerators of b"][0][1].endswith("there is room for 0")


def test_nodes_that_take_no_pods_do_not_count(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    cordoned = release.tpu_node("tpu-1")
    cordoned["spec"] = {"unschedulable": True}
    healthy.add("v1/nodes", cordoned)
    [(level, text, _)] = examine("-f", "-", input=manifests())["accelerators of chat"]
    assert level == "problem" and text.endswith("there is room for 0")


def test_a_configuration_tells_the_accelerators_too(
    healthy: KubernetesApi, examine: Callable[..., Findings], tmp_path: Path
) -> None:
    models = [
        {"id": "a", "checkpoint": "/a", "roles": ["fim"], "topology": {"accelerator": "gpu", "chips_per_host": 2}},
        {
            "id": "b",
            "checkpoint": "/b",
            "roles": ["chat"],
            "topology": {"accelerator": "tpu-v5litepod", "chips_per_host": 4, "hosts": 2},
        },
        {"id": "c", "checkpoint": "/c", "roles": ["chat"]},
    ]
    routing = {"roles": {"chat": {"models": {"b": 1, "c": 1}}}}
    args = {"models": models, "routing": routing}
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"applications": [{"import_path": "serving.app:build", "args": args}]}))
    found = examine("--config", str(file))
    assert found["accelerators of a"][0][:2] == (
        "problem",
        "1 x 2 nvidia.com/gpu: no node has nvidia.com/gpu and these labels",
    )
    assert found["accelerators of b"][0][0] == "ok"
    assert "accelerators of c" not in found


@pytest.mark.parametrize(
    ("hard", "used", "level", "text"),
    [
        ("16", "8", "ok", "requests.google.com/tpu: 8 of 16 used"),
        ("16", "12", "problem", "requests.google.com/tpu: 12 of 16 used, 8 more are wanted"),
    ],
)
def test_quotas(
    healthy: KubernetesApi, examine: Callable[..., Findings], hard: str, used: str, level: str, text: str
) -> None:
    key = "requests.google.com/tpu"
    healthy.add("v1/resourcequotas", {"metadata": {"name": "q"}, "status": {"hard": {key: hard}, "used": {key: used}}})
    assert examine("-f", "-", input=manifests())["quota q"][0][:2] == (level, text)


def test_a_quota_that_is_used_up_is_a_warning(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    full = {"hard": {"limits.memory": "1Gi", "pods": "50"}, "used": {"limits.memory": "1024Mi", "pods": "3"}}
    healthy.add("v1/resourcequotas", {"metadata": {"name": "q"}, "status": full})
    assert [(level, text) for level, text, _ in examine()["quota q"]] == [
        ("warning", "limits.memory: 1024Mi of 1Gi used: nothing more can start"),
        ("ok", "pods: 3 of 50 used"),
    ]


def test_secrets_and_claims_of_the_installed_release(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    service = release.service(
        release.worker_group(
            "gateway",
            2,
            volumes=[
                {"name": "keys", "secret": {"secretName": "keys"}},
                {"name": "maybe", "secret": {"secretName": "maybe", "optional": True}},
                {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
                {
                    "name": "steps",
                    "secret": {"secretName": "steps", "items": [{"key": "executables.key", "path": "k"}]},
                },
            ],
            imagePullSecrets=[{"name": "registry"}],
        )
    )
    password = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
    service["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"] = {"redisPassword": password}
    healthy.add("ray.io/v1/rayservices", service)
    healthy.add("v1/secrets", {"metadata": {"name": "keys"}, "data": {"keys.yaml": ""}})
    healthy.add("v1/secrets", {"metadata": {"name": "redis"}, "data": {"pass": ""}})
    healthy.add("v1/secrets", {"metadata": {"name": "steps"}, "data": {"other.key": ""}})
    healthy.add("v1/persistentvolumeclaims", {"metadata": {"name": "models"}, "spec": {}, "status": {"phase": "Bound"}})
    found = examine()
    assert found["secret keys"] == [("ok", "is there", "")]
    assert found["secret redis"][0][:2] == ("problem", "has no key 'password'; its keys: pass")
    assert found["secret registry"][0][:2] == ("problem", "does not exist in namespace codegemma")
    assert found["secret steps"][0][:2] == ("problem", "has no key 'executables.key'; its keys: other.key")
    assert "secret maybe" not in found
    assert found["volume claim models"] == [("ok", "is bound", "")]


def mounting(name: str, pods: int, claim: str, *, writes: bool = False) -> dict[str, Any]:
    """A worker group whose pods mount a claim."""
    source = {"claimName": claim} | ({} if writes else {"readOnly": True})
    return release.worker_group(name, pods, volumes=[{"name": "v", "persistentVolumeClaim": source}])


def writing_job(claim: str, name: str = "fetch", *, hook: bool = False, **spec: Any) -> dict[str, Any]:
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": claim}}]
    template = {"spec": {"containers": [], "volumes": volumes}}
    metadata = {"name": name} | ({"annotations": {"helm.sh/hook": "pre-install,pre-upgrade"}} if hook else {})
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template, **spec}}


_ONE_NODE = "one node at a time may have it, and up to 3 pods (gateway, chat) would mount it"
_FROM_SNAPSHOT = (
    "Use a claim of ReadWriteMany, such as of NFS or Filestore; or once it is filled, one of ReadOnlyMany made from a "
    "snapshot of it."
)


@pytest.mark.parametrize(
    ("modes", "groups", "job", "found"),
    [
        (["ReadWriteMany"], [mounting("gateway", 2, "m"), mounting("chat", 1, "m")], True, ("ok", "is bound", "")),
        (["ReadOnlyMany"], [mounting("gateway", 2, "m"), mounting("chat", 1, "m")], False, ("ok", "is bound", "")),
        (["ReadWriteOnce"], [mounting("chat", 1, "m")], False, ("ok", "is bound", "")),
        (
            ["ReadWriteOnce"],
            [mounting("gateway", 2, "m"), mounting("chat", 1, "m")],
            False,
            ("problem", f"is ReadWriteOnce: {_ONE_NODE}", _FROM_SNAPSHOT),
        ),
        (
            ["ReadWriteOncePod"],
            [mounting("gateway", 2, "m"), mounting("chat", 1, "m")],
            True,
            ("problem", f"is ReadWriteOncePod: {_ONE_NODE}", _FROM_SNAPSHOT),
        ),
        (
            ["ReadOnlyMany"],
            [mounting("gateway", 2, "m")],
            True,
            (
                "problem",
                "is ReadOnlyMany, and 1 pod (Job fetch) would write to it",
                "Use a claim of ReadWriteMany, or fill this one elsewhere and leave out what writes.",
            ),
        ),
        (
            ["ReadWriteOnce", "ReadOnlyMany"],
            [mounting("chat", 2, "m", writes=True)],
            False,
            (
                "problem",
                "is ReadWriteOnce, ReadOnlyMany, and up to 2 pods (chat) would write to it",
                "Use a claim of ReadWriteMany, such as of NFS or Filestore.",
            ),
        ),
    ],
)
def test_a_claim_whose_access_modes_its_pods_need(
    healthy: KubernetesApi,
    examine: Callable[..., Findings],
    modes: list[str],
    groups: list[dict[str, Any]],
    job: bool,
    found: tuple[str, str, str],
) -> None:
    # What the claim asked for is not all that its volume can do.
    status = {"phase": "Bound", "accessModes": modes}
    claim = {"metadata": {"name": "m"}, "spec": {"accessModes": ["ReadWriteOnce"]}, "status": status}
    healthy.add("v1/persistentvolumeclaims", claim)
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service(*groups)
    objects = [service, writing_job("m")] if job else [service]
    assert examine("-f", "-", input=manifests(*objects))["volume claim m"] == [found]


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"])
@pytest.mark.parametrize(
    ("jobs", "groups", "users"),
    [
        ([writing_job("m")], [], ""),
        ([writing_job("m", "a"), writing_job("m", "b")], [], "2 pods (Job a, Job b)"),
        ([writing_job("m", parallelism=3)], [], "3 pods (Job fetch)"),
        ([writing_job("m", "a", hook=True), writing_job("m", "b", hook=True)], [], ""),  # one after the other
        ([writing_job("m", "a", hook=True), writing_job("m", "b")], [], "2 pods (Job a, Job b)"),
        ([writing_job("m", hook=True)], [mounting("chat", 1, "m")], "2 pods (Job fetch, chat)"),  # of an upgrade
    ],
)
def test_jobs_that_may_have_a_claim_beside_others_on_another_node(
    healthy: KubernetesApi,
    examine: Callable[..., Findings],
    mode: str,
    jobs: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    users: str,
) -> None:
    claim = {"metadata": {"name": "m"}, "spec": {"accessModes": [mode]}, "status": {"phase": "Bound"}}
    healthy.add("v1/persistentvolumeclaims", claim)
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service(*groups)
    objects = [service, *jobs] if groups else jobs
    [(level, text, remedy)] = examine("-f", "-", input=manifests(*objects))["volume claim m"]
    if users and mode != "ReadWriteMany":
        assert level == "warning" and f"is {mode}: one node at a time may have it, and up to {users} would" in text
        assert "Use a claim of ReadWriteMany" in remedy
    else:
        assert (level, text) == ("ok", "is bound")


def test_what_jobs_of_the_chart_need_is_examined_though_helm_makes_them_before_all_else(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    job = writing_job("m", hook=True)
    job["spec"]["template"]["spec"]["containers"] = [
        {"name": "a", "envFrom": [{"secretRef": {"name": "hugging-face"}}]}
    ]
    found = examine("-f", "-", input=manifests(job))
    assert found["secret hugging-face"][0][:2] == ("problem", "does not exist in namespace codegemma")
    assert found["volume claim m"][0][:2] == ("problem", "does not exist in namespace codegemma")


def test_pods_that_autoscaling_may_add_need_the_claim_too(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    group = mounting("chat", 1, "m") | {"maxReplicas": 4, "numOfHosts": 2}
    claim = {"metadata": {"name": "m"}, "spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound"}}
    healthy.add("v1/persistentvolumeclaims", claim)
    healthy.add("ray.io/v1/rayservices", release.service(group))
    [(level, text, _)] = examine()["volume claim m"]
    assert level == "problem" and "up to 8 pods (chat) would mount it" in text


def amounts(**limits: str) -> dict[str, Any]:
    return {"name": "ray-worker", "resources": {"requests": limits, "limits": limits}}


@pytest.mark.parametrize(
    ("item", "texts"),
    [
        ({"type": "Container", "max": {"cpu": "16", "memory": "64Gi"}}, []),
        ({"type": "Container", "max": {"cpu": "4"}}, ["chat: container ray-worker may take more cpu than 4"]),
        (
            {"type": "Container", "min": {"memory": "300Mi"}},
            ["chat: container wait-gcs-ready asks for less memory than 300Mi"],
        ),
        # The API server adds a `defaultRequest` to a `min`.
        (
            {
                "type": "Container",
                "min": {"ephemeral-storage": "1Gi", "cpu": "150m"},
                "defaultRequest": {"ephemeral-storage": "1Gi", "cpu": "150m"},
            },
            ["chat: container logs asks for less cpu than 150m"],
        ),
        ({"type": "Container", "default": {"ephemeral-storage": "30Gi"}}, []),
        (
            {"type": "Container", "default": {"ephemeral-storage": "10Gi"}},
            ["chat: container ray-worker asks for more ephemeral-storage than the limit that it would get, 10Gi"],
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}},
            ["chat: container burst may take 8 times the cpu"],
        ),
        ({"type": "Pod", "max": {"cpu": "8100m"}}, []),
        ({"type": "Pod", "max": {"cpu": "8"}}, ["chat: a pod may take more cpu than 8"]),
        ({"type": "Pod", "max": {"ephemeral-storage": "1Ti"}}, ["chat: a pod has no limit of ephemeral-storage, and"]),
        ({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}, []),
    ],
)
def test_a_limit_range_that_would_refuse_pods(
    healthy: KubernetesApi, examine: Callable[..., Findings], item: dict[str, Any], texts: list[str]
) -> None:
    container = amounts(cpu="8", memory="32Gi")
    container["resources"]["requests"] = {**container["resources"]["limits"], "ephemeral-storage": "20Gi"}
    logs = amounts(cpu="100m", memory="300Mi") | {"name": "logs", "restartPolicy": "Always"}
    burst = {"name": "burst", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "2", "memory": "300Mi"}}}
    service = release.service(release.worker_group("chat", 1, container=container, initContainers=[logs, burst]))
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    head["resources"] = amounts(cpu="2", memory="8Gi", **{"ephemeral-storage": "1Gi"})["resources"]
    healthy.add("ray.io/v1/rayservices", service)
    healthy.add("v1/limitranges", {"metadata": {"name": "team"}, "spec": {"limits": [item]}})
    found = examine()["limit range team"]
    if texts:
        assert [level for level, _, _ in found] == ["problem"] * len(texts)
        assert all(text.startswith(start) for (_, text, _), start in zip(found, texts, strict=True))
    else:
        assert found == [("ok", "admits the pods", "")]


@pytest.mark.parametrize(
    ("of_the_namespace", "of_the_pods", "harm"),
    [
        ({"labels": {"istio-injection": "enabled"}}, {"labels": {"sidecar.istio.io/inject": "false"}}, "mutual TLS"),
        ({"labels": {"istio.io/rev": "canary"}}, {"labels": {"sidecar.istio.io/inject": "false"}}, "mutual TLS"),
        ({"labels": {"istio.io/dataplane-mode": "ambient"}}, {"labels": {"istio.io/dataplane-mode": "none"}}, "15008"),
        (
            {"annotations": {"linkerd.io/inject": "enabled"}},
            {"annotations": {"linkerd.io/inject": "disabled"}},
            "mutual TLS",
        ),
    ],
)
def test_a_service_mesh_that_does_not_leave_the_pods_out(
    healthy: KubernetesApi,
    examine: Callable[..., Findings],
    of_the_namespace: dict[str, dict[str, str]],
    of_the_pods: dict[str, dict[str, str]],
    harm: str,
) -> None:
    healthy.add("ray.io/v1/rayservices", release.service())
    assert examine()["service mesh"] == [("ok", "namespace codegemma is in none", "")]
    healthy.namespaces["codegemma"] = of_the_namespace
    [(level, text, remedy)] = examine()["service mesh"]
    assert level == "warning" and harm in text
    (where,) = of_the_pods
    ((key, value),) = of_the_pods[where].items()
    assert f'pod{where.capitalize()}: {{{key}: "{value}"}}' in remedy
    service = release.service()
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        group["template"]["metadata"] = of_the_pods
    healthy.add("ray.io/v1/rayservices", service)
    [(level, text, _)] = examine()["service mesh"]
    assert level == "ok" and text.endswith("the pods are left out")


def test_a_claim_whose_storage_class_does_not_exist(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    healthy.add("storage.k8s.io/v1/storageclasses", {"metadata": {"name": "standard-rwo"}})
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"storageClassName": "fast"},
    }
    found = examine("-f", "-", input=manifests(claim))["volume claim models"]
    text = "is not created yet: there is no storage class 'fast'"
    assert found == [("problem", text, "Use one of: standard-rwo.")]


def test_what_may_not_be_examined_is_a_warning(healthy: KubernetesApi, examine: Callable[..., Findings]) -> None:
    volumes = [
        {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
    ]
    healthy.add("ray.io/v1/rayservices", release.service(release.worker_group("gateway", 2, volumes=volumes)))
    namespaced = {
        f"GET /api/v1/namespaces/codegemma/{kind}"
        for kind in ("limitranges", "resourcequotas", "secrets", "persistent")
    }
    healthy.forbidden |= {"GET /api/v1/nodes", "GET /api/v1/pods", *namespaced}
    found = examine()
    for subject in ("nodes", "KubeRay operator", "quota", "limit range", "secret keys", "volume claim models"):
        assert [(level, text[:12]) for level, text, _ in found[subject]] == [("warning", "not examined")]


def test_a_release_that_may_not_be_read_is_as_good_as_none(
    healthy: KubernetesApi, examine: Callable[..., Findings]
) -> None:
    healthy.forbidden.add("GET /apis/ray.io/v1/namespaces/codegemma/rayservices")
    healthy.denied.add("get rayservices")
    assert [level for level, _, _ in examine()["rights"]] == ["problem"]


@pytest.mark.parametrize("overlay", sorted((CHECKOUT / "k8s" / "overlays").glob("*")), ids=lambda path: path.name)
def test_the_manifests_of_this_repository_are_understood(
    api: KubernetesApi, examine: Callable[..., Findings], overlay: Path
) -> None:
    command: list[str | Path] = [CHECKOUT / ".helm" / "kubectl", "kustomize", overlay]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    found = examine("-f", "-", input=rendered)
    assert any(subject.startswith("accelerators of") for subject in found) == (overlay.name != "demo")
    assert any(subject.startswith("secret ") for subject in found)


def test_manifests_and_a_configuration_are_one_too_many(cluster: Run) -> None:
    result = cluster("doctor", "-f", "x.yaml", "--config", "y.yaml")
    assert result.exit_code == 2 and "not both" in result.stderr


def chips(count: int) -> dict[str, Any]:
    return {"name": "ray-worker", "resources": {"limits": {"google.com/tpu": str(count)}}}
