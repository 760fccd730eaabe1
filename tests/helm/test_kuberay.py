"""What KubeRay needs of the chart's pods, and what becomes of them: by the rules of KubeRay 1.5.1 to 1.7.0."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.helm.chart import CASE, Case, Object, every_case, fingerprint, merged, ray_service, template

_SESSIONS = "/tmp/ray"
_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/created-by")
"""What KubeRay's Services select pods by, beside its labels that begin with `ray.io/`."""


def _groups(case: Case) -> Iterator[tuple[str, Object]]:
    """Name and spec of the head's group and of each worker group."""
    cluster = ray_service(case)["spec"]["rayClusterConfig"]
    yield "head", cluster["headGroupSpec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group


def _containers(case: Case, name: str, group: Object) -> dict[str, Object]:
    """The containers of a pod as KubeRay makes it, with the volume that it adds where there is none."""
    spec = group["template"]["spec"]
    containers = {each["name"]: each for each in (*spec["initContainers"], *spec["containers"])}
    if name == "head":
        options = ray_service(case)["spec"]["rayClusterConfig"]["autoscalerOptions"]
        containers["autoscaler"] = {"volumeMounts": options["volumeMounts"]}
        for each in ("ray-head", "autoscaler"):
            mounts = containers[each]["volumeMounts"]
            if _SESSIONS not in {mount["mountPath"] for mount in mounts}:
                added = [*mounts, {"name": "ray-logs", "mountPath": _SESSIONS}]
                containers[each] = merged(containers[each], {"volumeMounts": added})
    return containers


def _volume_of(container: Object, path: str) -> str:
    """The volume that a path of a container is in."""
    above = [each for each in container["volumeMounts"] if f"{path}/".startswith(f"{each['mountPath']}/")]
    volume: str = max(above, key=lambda mount: len(mount["mountPath"]))["name"]
    return volume


@every_case
def test_the_head_has_the_ports_that_kuberay_makes_its_services_from(case: Case) -> None:
    groups = dict(_groups(case))
    ports = {
        name: {port["name"]: port["containerPort"] for port in group["template"]["spec"]["containers"][0]["ports"]}
        for name, group in groups.items()
    }
    assert ports["head"] == {"gcs-server": 6379, "dashboard": 8265, "serve": 8000, "metrics": 8080}
    assert ports["gateway"]["serve"] == ports["head"]["serve"]  # where requests to KubeRay's Service end


@every_case
def test_pods_keep_the_labels_that_kuberay_selects_them_by(case: Case) -> None:
    for name, group in _groups(case):
        labels = group["template"]["metadata"]["labels"]
        assert not labels.keys() & set(_LABELS), name
        assert not [key for key in labels if key.startswith("ray.io/")], name


@every_case
def test_logs_are_read_where_ray_writes_them(case: Case) -> None:
    for name, group in _groups(case):
        containers = _containers(case, name, group)
        ray = _volume_of(containers["ray-head" if name == "head" else "ray-worker"], _SESSIONS)
        assert _volume_of(containers["logs"], _SESSIONS) == ray, name
        if name == "head":
            assert _volume_of(containers["autoscaler"], _SESSIONS) == ray


@every_case
def test_kuberay_may_set_what_it_refuses_to_find(case: Case) -> None:
    assert "upgradeStrategy" not in ray_service(case)["spec"]["rayClusterConfig"]
    for name, group in _groups(case):
        assert "labels" not in group["rayStartParams"] and "resources" not in group, name
        spec = group["template"]["spec"]
        assert "restartPolicy" not in spec, name  # Never, with Ray's second autoscaler
        names = {each["name"] for each in spec["containers"][0]["env"]}
        assert not names & {"RAY_enable_autoscaler_v2", "RAY_REDIS_ADDRESS", "REDIS_USERNAME", "REDIS_PASSWORD"}, name


def _compared(case: Case) -> str:
    """What KubeRay compares of a RayService to know whether pods changed: not sizes, and since 1.6 no tolerations."""
    documents = yaml.safe_load_all(template("helm4", case).stdout)
    (service,) = (each for each in documents if each and each["kind"] == "RayService")
    cluster = copy.deepcopy(service["spec"]["rayClusterConfig"])
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        group["template"]["spec"].pop("tolerations", None)
        for size in ("replicas", "minReplicas", "maxReplicas"):
            group.pop(size, None)
    return fingerprint(cluster)


def _changed(values: dict[str, Any]) -> Case:
    base = CASE["placement"]
    return Case("changed", base.profiles, merged(base.values, values))


_TAINTS = [{"key": "team", "operator": "Equal", "value": "code", "effect": "NoSchedule"}]
_GPUS = {"name": "gpu", "accelerator": "gpu", "chipsPerHost": 1, "minReplicas": 2, "maxReplicas": 6, "cpu": 8}


@pytest.mark.parametrize("tolerations", [_TAINTS, []], ids=["others", "none"])
@pytest.mark.parametrize("where", ["head", "gateway", "workers"])
def test_changed_tolerations_are_changed_pods(where: str, tolerations: list[Object]) -> None:
    def case(tolerations: list[Object]) -> Case:
        group = {"tolerations": tolerations}
        workers = {"workers": [_GPUS | {"memory": "40Gi"} | group]}
        return _changed(workers if where == "workers" else {where: group})

    before = case([{"key": "pool", "operator": "Exists"}])
    assert _compared(case(tolerations)) != _compared(before)


def test_other_sizes_are_no_new_cluster() -> None:
    """They would need twice the accelerators: `codegemma cluster resize` gives them to the cluster that runs."""
    workers = [
        _GPUS | {"memory": "40Gi", "minReplicas": least, "maxReplicas": most} for least, most in ((2, 6), (1, 9))
    ]
    before, after = (_changed({"workers": [worker]}) for worker in workers)
    assert _compared(before) == _compared(after)
