from collections.abc import Iterator
from functools import cache
from unittest.mock import patch

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils
import pytest
import yaml

from serving.cluster.field_types import check_types
from tests.helm import crd
from tests.helm.chart import (
    CASE,
    CASES,
    CHART,
    HELMS,
    KUBERNETES,
    NAMESPACE,
    PROFILES,
    RELEASE,
    ROOT,
    Case,
    Object,
    every_case,
    fingerprint,
    is_hook,
    merged,
    ray_service,
    rendered,
    run,
    values,
)

_OWN_SCHEMAS = {"RayService", "HTTPRoute", "GRPCRoute", "PodMonitor", "ServiceMonitor", "PrometheusRule"}
_NO_SCHEMA = {"Certificate", "Gateway", "InferencePool"}  # whose definitions need not be at hand
_TOO_OLD = dict.fromkeys(("rocksdb", "mtls"), ("1.5", "1.6"))
"""Versions of KubeRay that a case asks for more than they have."""


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    with patch.object(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents)):
        yield


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("case", PROFILES, ids=str)
def test_lint_finds_nothing(helm: str, case: Case) -> None:
    run(helm, "lint", "--strict", CHART, "-n", NAMESPACE, *values(case), case=case)


@pytest.mark.parametrize("helm", HELMS)
def test_lint_finds_nothing_without_values(helm: str) -> None:
    assert "[ERROR]" not in run(helm, "lint", "--strict", CHART).stdout


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@every_case
def test_both_helms_render_the_same(case: Case, kubernetes: str) -> None:
    helm3, helm4 = (rendered(case, helm, kubernetes) for helm in HELMS)
    assert sorted(map(fingerprint, helm3)) == sorted(map(fingerprint, helm4))


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_kubernetes_accepts_all_objects(kubernetes: str) -> None:
    objects = {fingerprint(each): each for case in CASES for each in rendered(case, "helm4", kubernetes)}
    builtin = [each for each in objects.values() if each["kind"] not in _OWN_SCHEMAS | _NO_SCHEMA]
    assert builtin
    for each in builtin:
        assert kubernetes_validate.validate(each, kubernetes, strict=True)


@every_case
def test_our_own_commands_take_all_values_for_what_they_are(case: Case) -> None:
    for each in rendered(case):
        check_types("manifests", each)


@every_case
def test_custom_resources_fit_their_definitions(case: Case) -> None:
    defined = {kind for _, kind in crd.schemas()}
    custom = [each for each in rendered(case) if each["kind"] in _OWN_SCHEMAS | defined]
    assert {each["kind"] for each in custom} >= {"RayService"}
    for each in custom:
        crd.check(each)


@pytest.mark.parametrize("kuberay", crd.KUBERAY)
@every_case
def test_a_ray_service_fits_each_kuberay_unless_it_asks_for_what_came_later(case: Case, kuberay: str) -> None:
    service = ray_service(case)
    if kuberay in _TOO_OLD.get(case.name, ()):
        with pytest.raises(jsonschema.ValidationError, match=r"Additional properties are not allowed"):
            crd.ray_service(kuberay).validate(service)
    else:
        crd.ray_service(kuberay).validate(service)


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_pods_inside_a_ray_service_are_what_kubernetes_accepts(kubernetes: str) -> None:
    templates = {}
    for case in CASES:
        cluster = ray_service(case)["spec"]["rayClusterConfig"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
            templates[fingerprint(pod)] = pod
    for pod in templates.values():
        assert kubernetes_validate.validate(pod, kubernetes, strict=True)


def test_every_profile_and_overlay_is_a_case_alone_and_with_high_availability() -> None:
    profiles = {file.stem.removeprefix("values-") for file in CHART.glob("values-*.yaml")} - {"ha"}
    cases = {case.profiles for case in CASES}
    assert cases >= {(profile,) for profile in profiles} | {(profile, "ha") for profile in profiles}
    overlays = {folder.name for folder in (ROOT / "k8s" / "overlays").iterdir()}
    assert overlays <= {case.name for case in PROFILES}


def test_every_object_is_in_the_namespace_of_the_release() -> None:
    for case in CASES:
        for each in rendered(case):
            expected = None if each["kind"] == "PriorityClass" else NAMESPACE
            assert each["metadata"].get("namespace") == expected


def test_nothing_of_two_releases_of_one_name_in_two_namespaces_collides() -> None:
    names: list[set[tuple[str, str]]] = []
    for namespace in ("team-a", "team-b"):
        text = run("helm4", "template", RELEASE, CHART, "-n", namespace, *values(CASE["gpu-ha"]), case=CASE["gpu-ha"])
        objects = [each for each in yaml.load_all(text.stdout, yaml.CSafeLoader) if each]
        names.append({(each["kind"], each["metadata"]["name"]) for each in objects if each["kind"] == "PriorityClass"})
        classes = {pod["spec"]["priorityClassName"] for pod in _ray_pods(objects)}
        assert {("PriorityClass", name) for name in classes} == names[-1]
    assert names[0] and not names[0] & names[1]


def _ray_pods(objects: list[Object]) -> list[Object]:
    (service,) = (each for each in objects if each["kind"] == "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_helm_3_finds_the_log_of_a_test_that_succeeded() -> None:
    tests = [each for each in rendered(CASE["demo"]) if is_hook(each) and each["kind"] == "Pod"]
    assert tests
    for each in tests:  # it deletes on success before --logs asks: https://github.com/helm/helm/issues/9098
        assert "hook-succeeded" not in each["metadata"]["annotations"]["helm.sh/hook-delete-policy"]


def test_no_two_objects_have_one_name() -> None:
    for case in CASES:
        names = [(each["kind"], each["metadata"]["name"]) for each in rendered(case)]
        assert len(names) == len(set(names)), case


def test_extra_objects_are_rendered_as_templates() -> None:
    assert any(each["metadata"]["name"] == "codegemma-extra" for each in rendered(CASE["extra"]))


@pytest.mark.parametrize("case", [*PROFILES, CASE["anyone"], CASE["no-network-policy"]], ids=str)
def test_notes_give_the_next_commands(case: Case) -> None:
    # Helm 3 shows notes only where it reaches a cluster: test_lifecycle.py does.
    arguments = ("install", RELEASE, CHART, "-n", NAMESPACE, "--dry-run=client", *values(case))
    notes = run("helm4", *arguments, case=case).stdout.partition("\nNOTES:\n")[2]
    assert "helm test codegemma -n codegemma --logs" in notes
    assert "kubectl -n codegemma port-forward service/codegemma-http 8000" in notes
    adds_key = "codegemma keys create NAME --secret codegemma-keys -n codegemma\n"
    assert (adds_key in notes) == (case.name != "anyone")
    steps = ("delete rayservice codegemma", "wait --for=delete raycluster", "helm uninstall codegemma")
    removes = [notes.find(step) for step in steps]
    assert removes == sorted(removes) and (removes[0] > 0) == ("ha" in case.profiles)
    assert ("networkPolicy.operator" in notes) == (case.name != "no-network-policy")
    assert ("networkPolicy.enabled is false" in notes) == (case.name == "no-network-policy")


def test_notes_name_the_file_of_the_keys_where_it_is_not_the_usual_one() -> None:
    case = Case("file", CASE["demo"].profiles, merged(CASE["demo"].values, {"auth": {"secretKey": "people.yaml"}}))
    notes = run("helm4", "install", RELEASE, CHART, "--dry-run=client", *values(case), case=case).stdout
    assert "--secret codegemma-keys -n default --file people.yaml\n" in notes


def test_a_release_of_another_name_gets_a_prefix() -> None:
    result = run("helm4", "template", "assist", CHART, *values(CASE["demo"]), case=CASE["demo"])
    assert "name: assist-codegemma-http" in result.stdout
