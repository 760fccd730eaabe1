"""Names, labels, annotations, places, accounts and volumes that the values give to objects and pods."""

from typing import Any

import pytest
import yaml

from tests.helm.chart import (
    CASE,
    CHART,
    HELMS,
    SETTINGS,
    Case,
    Object,
    is_hook,
    merged,
    of_kind,
    pods,
    rendered,
    template,
)

_SET = CASE["settings"]
_RAY = ("head", "gateway", "gpu")


def _pods(case: Case) -> dict[str, Object]:
    return {name: pod for name, pod, _ in pods(rendered(case))}


def _with(helm: str, **values: Any) -> list[Object]:
    """The objects of the demo with further values."""
    case = Case("further", ("demo",), merged(CASE["demo"].values, values))
    return [each for each in yaml.load_all(template(helm, case).stdout, yaml.CSafeLoader) if each]


def test_every_object_has_the_labels_and_annotations_of_all() -> None:
    for each in rendered(_SET):
        if each["metadata"]["name"] != "codegemma-extra":
            assert each["metadata"]["labels"]["team"] == "editors", each["metadata"]["name"]
            assert each["metadata"]["annotations"]["example.com/owner"] == "editors", each["metadata"]["name"]


def test_annotations_of_all_take_none_away() -> None:
    objects = rendered(_SET)
    services = of_kind(objects, "Service")
    for name in ("codegemma-http", "codegemma-grpc"):
        assert services[name]["metadata"]["annotations"]["networking.gke.io/load-balancer-type"] == "Internal"
    assert services["codegemma-envoy"]["metadata"]["annotations"]["a"] == "b"
    (test,) = of_kind(objects, "Pod").values()
    assert is_hook(test)


def test_every_pod_has_labels_and_annotations_of_all_and_of_its_part() -> None:
    for case, names in ((_SET, (*_RAY, "codegemma-envoy", "codegemma-test-answers")), (CASE["settings-convert"], ())):
        for name, pod in _pods(case).items():
            assert pod["metadata"]["labels"]["cost-centre"] == "42", name
        assert set(names) <= _pods(case).keys()
    for name, pod in _pods(_SET).items():
        part = "any" if name.endswith("test-answers") else name.removeprefix("codegemma-")
        assert pod["metadata"]["labels"]["part"] == part
        assert pod["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false", name
        assert pod["metadata"]["annotations"].get("example.com/part") == (None if part == "any" else part)


def test_pods_are_where_their_part_says() -> None:
    found = _pods(_SET)
    for name in (*_RAY, "codegemma-envoy"):
        assert found[name]["spec"]["affinity"]["nodeAffinity"] == SETTINGS["head"]["affinity"]["nodeAffinity"]
        assert found[name]["spec"]["runtimeClassName"] == name.removeprefix("codegemma-")
    for name in _RAY:
        assert not {"affinity", "runtimeClassName"} & _pods(CASE["gpu"])[name]["spec"].keys()


def test_pods_that_must_not_be_beside_others_of_ours_are_kept_from_those_of_the_values_too() -> None:
    theirs = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "noisy"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [theirs]}}
    base = CASE["settings"]
    workers = [{**SETTINGS["workers"][0], "affinity": affinity}]
    text = template("helm4", Case("anti", base.profiles, merged(base.values, {"workers": workers}))).stdout
    found = {name: pod for name, pod, _ in pods([each for each in yaml.load_all(text, yaml.CSafeLoader) if each])}
    terms = found["gpu"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert theirs in terms and len(terms) == 2


def test_an_image_with_a_digest_is_that_one() -> None:
    for name, pod in _pods(_SET).items():
        if name != "codegemma-envoy":
            kind, digit = ("gpu", "2") if name == "gpu" else ("cpu", "1")
            expected = f"registry:5000/team/codegemma:0.1.0-{kind}@sha256:{digit * 64}"
            assert pod["spec"]["containers"][0]["image"] == expected


def test_the_demo_takes_the_image_with_its_model() -> None:
    digest = f"sha256:{'3' * 64}"
    for image, suffix in ({}, ""), ({"digests": {"demo": digest}}, f"@{digest}"):
        found = pods(_with("helm4", image=image))
        images = {container["image"] for _, pod, _ in found for container in pod["spec"]["containers"]}
        assert images == {f"codegemma-serving:0.1.0-demo{suffix}"}


def test_every_pod_pulls_with_the_secrets() -> None:
    for case in (_SET, CASE["registry"]):
        for name, pod in _pods(case).items():
            assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}], name


def test_ray_gets_variables_from_secrets_which_replace_none_of_ours() -> None:
    (service,) = of_kind(rendered(_SET), "RayService").values()
    autoscaler = service["spec"]["rayClusterConfig"]["autoscalerOptions"]
    for container in (autoscaler, *(_pods(_SET)[name]["spec"]["containers"][0] for name in _RAY)):
        assert SETTINGS["ray"]["extraEnv"][0] in container["env"]
        assert container["envFrom"] == [{"secretRef": {"name": "proxy"}}]  # env wins over envFrom


def test_ray_and_what_fetches_models_trust_the_companys_certificates() -> None:
    (mount,) = SETTINGS["extraVolumeMounts"]
    for name in _RAY:
        spec = _pods(_SET)[name]["spec"]
        assert SETTINGS["extraVolumes"][0] in spec["volumes"]
        assert mount in spec["containers"][0]["volumeMounts"]
        for fetch in (each for each in spec["initContainers"] if each["name"] == "copy-codegemma-2b"):
            assert mount in fetch["volumeMounts"]
            assert {"name": "RCLONE_CA_CERT", "value": "/etc/company-ca/ca.crt"} in fetch["env"]


def test_disk_is_requested_for_what_pods_write_and_fetch() -> None:
    for name, size in (("head", "10Gi"), ("gateway", "10Gi"), ("gpu", "20Gi")):
        spec = _pods(_SET)[name]["spec"]
        assert spec["containers"][0]["resources"]["requests"]["ephemeral-storage"] == size
        assert "ephemeral-storage" not in spec["containers"][0]["resources"]["limits"]
        fetch = [each for each in spec["initContainers"] if each["name"] == "copy-codegemma-2b"]
        assert [each["resources"]["requests"]["ephemeral-storage"] for each in fetch] == ["30Gi"] * (name != "head")


def test_services_are_of_the_type_that_is_set() -> None:
    for name in ("codegemma-http", "codegemma-grpc"):
        spec = of_kind(rendered(_SET), "Service")[name]["spec"]
        assert (spec["type"], spec["loadBalancerSourceRanges"]) == ("LoadBalancer", ["10.0.0.0/8"])
        assert of_kind(rendered(CASE["gpu"]), "Service")[name]["spec"]["type"] == "ClusterIP"


@pytest.mark.parametrize("helm", HELMS)
def test_a_full_name_replaces_the_releases(helm: str) -> None:
    objects = _with(helm, fullnameOverride="assist")
    names = {each["metadata"]["name"] for each in objects}
    assert all(name == "assist" or name.startswith("assist-") for name in names)


@pytest.mark.parametrize("helm", HELMS)
def test_accounts_that_are_there_already_are_used_and_none_is_made(helm: str) -> None:
    objects = _with(helm, serviceAccount={"create": False, "name": "models", "headName": "ray"})
    assert not of_kind(objects, "ServiceAccount")
    accounts = {name: pod["spec"]["serviceAccountName"] for name, pod, _ in pods(objects)}
    assert accounts == {"head": "ray", "gateway": "models", "cpu": "models", "codegemma-test-answers": "models"}


def test_accounts_that_are_made_have_the_names_that_are_set() -> None:
    objects = _with("helm4", serviceAccount={"name": "models", "headName": "ray", "annotations": {"a": "b"}})
    accounts = of_kind(objects, "ServiceAccount")
    assert accounts.keys() == {"models", "ray"}
    assert accounts["models"]["metadata"]["annotations"] == {"a": "b"}
    assert "annotations" not in accounts["ray"]["metadata"]


@pytest.mark.parametrize("helm", HELMS)
def test_pods_run_as_the_user_that_is_set_or_as_whom_the_cluster_chooses(helm: str) -> None:
    for user in (2000, None):
        found = [pod["spec"] for _, pod, _ in pods(_with(helm, runAsUser=user, edge=SETTINGS["edge"]))]
        assert len(found) == 5
        for spec in found:
            security = spec["securityContext"]
            assert [security.get(key) for key in ("runAsUser", "runAsGroup", "fsGroup")] == [user] * 3
            assert security["runAsNonRoot"] and security["seccompProfile"] == {"type": "RuntimeDefault"}


_EVICTION = "cluster-autoscaler.kubernetes.io/safe-to-evict"


def test_the_node_autoscaler_moves_a_head_only_if_its_state_outlives_it_or_the_values_say_so() -> None:
    alone, *kept = (_pods(CASE[name])["head"]["metadata"]["annotations"] for name in ("gpu", "gpu-ha", "rocksdb"))
    assert alone[_EVICTION] == "false" and not [each for each in kept if _EVICTION in each]
    for values in ({"podAnnotations": {_EVICTION: "true"}}, {"head": {"podAnnotations": {_EVICTION: "true"}}}):
        found = {name: pod for name, pod, _ in pods(_with("helm4", **values))}
        assert found["head"]["metadata"]["annotations"][_EVICTION] == "true"


@pytest.mark.parametrize(("gpus", "size"), [(1, "512Mi"), (2, "1536Mi"), (8, "4608Mi")])
def test_gpus_of_one_pod_have_shared_memory_to_exchange_through(gpus: int, size: str) -> None:
    base = CASE["gpu"]
    (model, *_) = yaml.safe_load((CHART / "values-gpu.yaml").read_text())["serving"]["models"]
    model["topology"] = {"accelerator": "gpu", "chips_per_host": gpus}
    worker = {**SETTINGS["workers"][0], "chipsPerHost": gpus}
    values = merged(base.values, {"serving": {"models": [model | {"roles": ["fim", "chat"]}]}, "workers": [worker]})
    text = template("helm4", Case("gpus", base.profiles, values)).stdout
    found = {name: pod for name, pod, _ in pods([each for each in yaml.load_all(text, yaml.CSafeLoader) if each])}
    for name, expected in (("gpu", size), ("gateway", "512Mi"), ("head", "512Mi")):
        (memory,) = [each for each in found[name]["spec"]["volumes"] if each["name"] == "shared-memory"]
        assert memory["emptyDir"] == {"medium": "Memory", "sizeLimit": expected}
