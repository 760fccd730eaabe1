"""Objects that lack a field or have a value of another type there, or a release that is there twice.

A sentence with the field, never a stack trace.
"""

import copy
import functools
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.cluster.doctor import examine, installation_in, installation_of_manifests
from serving.cluster.drift import resize
from serving.cluster.errors import ClusterError
from serving.cluster.logs import containers_of
from serving.cluster.manifests import _checked
from serving.cluster.release import pods_of, service_of
from serving.cluster.status import read_status
from tests.cluster import release
from tests.cluster.answers import Answers
from tests.cluster.conftest import Run
from tests.cluster.kubernetes_api import KubernetesApi

_CHECKOUT = Path(__file__).parents[2]
_PROFILES = sorted(path.name for path in (_CHECKOUT / "k8s" / "overlays").iterdir())
_RAY_SERVICES = "ray.io/v1/rayservices"
_INSTANCE = ("metadata", "labels", "app.kubernetes.io/instance")
_KNOWN = (("apiVersion",), ("kind",), ("metadata", "name"), _INSTANCE, _INSTANCE[:1], _INSTANCE[:2])
"""What an API server always has of an object, and what the release is found by."""

type _Path = tuple[str | int, ...]


@functools.cache
def _objects(profile: str) -> list[dict[str, Any]]:
    """What a profile of `k8s/` renders to; not to be changed."""
    command: list[str | Path] = [_CHECKOUT / ".helm" / "kubectl", "kustomize", _CHECKOUT / "k8s" / "overlays" / profile]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return list(yaml.load_all(text, yaml.CSafeLoader))


def _fields(value: object, path: _Path = ()) -> Iterator[_Path]:
    """The path of every field, of whatever depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        if isinstance(value, dict):
            yield (*path, key)
        yield from _fields(each, (*path, key))


def _without(one: dict[str, Any], path: _Path, *, null: bool) -> dict[str, Any]:
    """A copy that lacks a field, or has null there."""
    changed = _with(one, path, None)
    if not null:
        holder: Any = changed
        for key in path[:-1]:
            holder = holder[key]
        del holder[path[-1]]
    return changed


def _with(one: dict[str, Any], path: _Path, value: object) -> dict[str, Any]:
    """A copy with a value there."""
    changed: dict[str, Any] = copy.deepcopy(one)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


@pytest.mark.parametrize("profile", _PROFILES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_doctor_has_a_sentence_for_manifests_that_lack_any_field(profile: str, data: st.DataObject) -> None:
    places = [(number, path) for number, one in enumerate(_objects(profile)) for path in _fields(one)]
    number, path = data.draw(st.sampled_from(places))
    objects = list(_objects(profile))
    objects[number] = _without(objects[number], path, null=data.draw(st.booleans()))
    with suppress(ClusterError):  # which is a sentence
        manifests = [_checked("manifests", one) for one in objects]
        installation = installation_of_manifests(release.RELEASE, manifests)
        assert all(finding.text for finding in examine(Answers({}), installation))


@pytest.mark.parametrize("profile", _PROFILES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_doctor_has_a_sentence_for_manifests_with_any_value_of_another_type(
    profile: str, data: st.DataObject
) -> None:
    places = [(number, path) for number, one in enumerate(_objects(profile)) for path in _fields(one)]
    number, path = data.draw(st.sampled_from(places))
    value = data.draw(st.sampled_from(["two", "", 7, True, [], ["a"], {"a": 1}]))
    objects = list(_objects(profile))
    objects[number] = _with(objects[number], path, value)
    with suppress(ClusterError):
        manifests = [_checked("manifests", one) for one in objects]
        installation = installation_of_manifests(release.RELEASE, manifests)
        assert all(finding.text for finding in examine(Answers({}), installation))


_WORKER = "spec.rayClusterConfig.workerGroupSpecs[1]"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("maxReplicas", "two", "maxReplicas is 'two', where a whole number belongs"),
        ("minReplicas", True, "minReplicas is 'True', where a whole number belongs"),
        ("rayStartParams", [], "rayStartParams is '[]', where a mapping belongs"),
        ("rayStartParams.num-cpus", 0, "rayStartParams['num-cpus'] is '0', where a text belongs"),
        ("template.spec.volumes", "data", "template.spec.volumes is 'data', where a list belongs"),
        ("template.spec.nodeSelector", "gpu", "template.spec.nodeSelector is 'gpu', where a mapping belongs"),
        (
            "template.spec.containers.0.resources.limits",
            {"nvidia.com/gpu": "two"},
            "resources.limits['nvidia.com/gpu'] is 'two', where a quantity, such as 2, 500m or 8Gi belongs. `kubectl "
            "explain rayservice.spec.rayClusterConfig.workerGroupSpecs.template.spec.containers.resources.limits` says",
        ),
    ],
)
def test_a_value_of_another_type_is_named(path: str, value: object, said: str) -> None:
    (service,) = (one for one in _objects("gpu") if one["kind"] == "RayService")
    keys = [int(key) if key.isdecimal() else key for key in path.split(".")]
    wrong = _with(service, ("spec", "rayClusterConfig", "workerGroupSpecs", 1, *keys), value)
    with pytest.raises(ClusterError) as raised:
        _checked("service.yaml", wrong)
    assert str(raised.value).startswith(f"service.yaml: RayService codegemma: {_WORKER}.")
    assert said in str(raised.value)


@pytest.mark.parametrize("count", ["500m", 1.5])
def test_a_part_of_an_accelerator_is_refused(count: object) -> None:
    (service,) = (one for one in _objects("gpu") if one["kind"] == "RayService")
    limits = ("template", "spec", "containers", 0, "resources", "limits", "nvidia.com/gpu")
    wrong = _with(service, ("spec", "rayClusterConfig", "workerGroupSpecs", 1, *limits), count)
    with pytest.raises(ClusterError, match=r"Container ray-worker asks for nvidia.com/gpu=.*Write a whole number"):
        installation_of_manifests(release.RELEASE, [_checked("service.yaml", wrong)])


@pytest.mark.parametrize("profile", ["gpu", "tpu-v5e-two-hosts"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_command_has_a_sentence_for_a_release_that_lacks_any_field(profile: str, data: st.DataObject) -> None:
    service = next(one for one in _objects(profile) if one["kind"] == "RayService")
    status = release.service()["status"] | {"pendingServiceStatus": {"rayClusterName": "codegemma-next"}}
    ray_cluster = {"metadata": {"name": release.ACTIVE}, "spec": service["spec"]["rayClusterConfig"]}
    there = {
        _RAY_SERVICES: service | {"status": status},
        "ray.io/v1/rayclusters": ray_cluster,
        "v1/pods": release.pod("gateway-0", "gateway"),
        "v1/nodes": release.tpu_node("tpu-0"),
    }
    places = [(kind, path) for kind, one in there.items() for path in _fields(one) if path not in _KNOWN]
    kind, path = data.draw(st.sampled_from(places))
    there[kind] = _without(there[kind], path, null=data.draw(st.booleans()))
    cluster = Answers({kind: [one] for kind, one in there.items()})
    with suppress(ClusterError):
        assert read_status(cluster, release.RELEASE).rollout.text
    with suppress(ClusterError):
        resize(cluster, service_of(cluster, release.RELEASE))
    with suppress(ClusterError):
        containers_of(pods_of(cluster, release.RELEASE))
    with suppress(ClusterError):
        assert all(finding.text for finding in examine(cluster, installation_in(cluster, release.RELEASE)))


def test_a_field_that_is_missing_is_a_finding_beside_the_others(api: KubernetesApi, cluster: Run) -> None:
    api.add("v1/nodes", release.tpu_node("tpu-0"))
    service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service()
    del service["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]["template"]["spec"]
    result = cluster("doctor", "--json", "-f", "-", input=yaml.safe_dump(service))
    assert result.exit_code == 1
    found = [one for one in json.loads(result.stdout) if one["subject"] == "RayService codegemma"]
    path = "spec.rayClusterConfig.workerGroupSpecs[1].template.spec"
    assert [(one["level"], one["text"]) for one in found] == [("problem", f"has no {path}")]
    assert f"`kubectl explain rayservice.{path.replace('[1]', '')}`" in found[0]["remedy"]
    assert "nodes" in {one["subject"] for one in json.loads(result.stdout)}


@pytest.mark.parametrize("command", ["status", "resize", "doctor", "logs"])
def test_a_release_with_two_services_is_said_with_both_names(api: KubernetesApi, cluster: Run, command: str) -> None:
    for name in ("codegemma", "codegemma-old"):
        service = release.service()
        api.add(_RAY_SERVICES, service | {"metadata": service["metadata"] | {"name": name}})
    result = cluster(command)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "several RayServices of release 'codegemma': codegemma, codegemma-old." in said


def test_manifests_of_two_services_are_to_be_given_one_at_a_time(cluster: Run) -> None:
    services = []
    for name in ("codegemma", "canary"):
        service = {"apiVersion": "ray.io/v1", "kind": "RayService"} | release.service()
        services.append(service | {"metadata": {"name": name, "labels": {"app.kubernetes.io/instance": name}}})
    result = cluster("doctor", "-f", "-", input=yaml.safe_dump_all(services))
    assert result.exit_code == 2
    assert "several RayServices: RayService/codegemma, RayService/canary. Give one" in " ".join(result.stderr.split())
