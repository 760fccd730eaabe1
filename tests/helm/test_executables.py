"""Compiled steps: made ahead of time by a Job or elsewhere, kept for the pods after, and read by groups alone."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.cli.serve_file import read_serve_file
from serving.config import ServingConfig
from tests.helm.chart import (
    CASE,
    CHART,
    HELMS,
    NAMESPACE,
    RELEASE,
    Case,
    Object,
    merged,
    of_kind,
    rendered,
    run,
    serve_config,
    template,
    values,
    worker_groups,
)

_KEY = "/home/codegemma/.local/share/codegemma/executables.key"
_ARTEFACT = f"registry/codegemma-executables@sha256:{'1' * 64}"


def _models(config: Object) -> dict[str, Any]:
    served = ServingConfig.model_validate(config["applications"][0]["args"])
    return {model.id: str(model.executables) if model.executables else None for model in served.models}


def _with(case: str, **values: Any) -> list[Object]:
    """The objects of a case with further values."""
    base = CASE[case]
    text = template("helm4", Case("further", base.profiles, merged(base.values, values))).stdout
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def _config_of(objects: list[Object]) -> Object:
    (service,) = of_kind(objects, "RayService").values()
    config: Object = yaml.safe_load(service["spec"]["serveConfigV2"])
    return config


def test_groups_and_nobody_else_get_the_key_of_executables_as_a_file_that_is_no_link() -> None:
    path = "/home/codegemma/.local/share/codegemma/executables.key"
    mount = {"name": "executables-key", "mountPath": path, "subPath": "executables.key", "readOnly": True}
    # By its name, so that a secret without it keeps the pod from starting, and is named by the kubelet.
    key = {"key": "executables.key", "path": "executables.key"}
    secret = {"secretName": "codegemma-executables", "defaultMode": 0o440, "items": [key]}
    for name, group in worker_groups(CASE["executables"]).items():
        spec = group["template"]["spec"]
        assert (mount in spec["containers"][0]["volumeMounts"]) == (name != "gateway")
        assert ({"name": "executables-key", "secret": secret} in spec["volumes"]) == (name != "gateway")


def test_steps_that_groups_compile_outlive_their_pods() -> None:
    """A volume that lives as long as the pod loses them, and a key that does, too."""
    mount = {"name": "executables-cache", "mountPath": "/var/cache/codegemma"}
    volume = {"name": "executables-cache", "persistentVolumeClaim": {"claimName": "codegemma-cache"}}
    for name, group in worker_groups(CASE["executables-cache"]).items():
        spec = group["template"]["spec"]
        container = spec["containers"][0]
        cache = {"name": "XDG_CACHE_HOME", "value": "/var/cache/codegemma"}
        for each, there in ((mount, container["volumeMounts"]), (volume, spec["volumes"]), (cache, container["env"])):
            assert (each in there) == (name != "gateway"), name
        assert (_KEY in {each["mountPath"] for each in container["volumeMounts"]}) == (name != "gateway")


@pytest.mark.parametrize("case", ["compile", "executables-claim"])
def test_groups_find_steps_compiled_ahead_of_time_and_cannot_change_them(case: str) -> None:
    for name, group in worker_groups(CASE[case]).items():
        spec = group["template"]["spec"]
        mount = {"name": "executables", "mountPath": "/executables", "readOnly": True}
        source = {"claimName": "codegemma-executables", "readOnly": True}
        assert (mount in spec["containers"][0]["volumeMounts"]) == (name != "gateway")
        assert ({"name": "executables", "persistentVolumeClaim": source} in spec["volumes"]) == (name != "gateway")
    directories = {"compile": r"/executables/[0-9a-f]{16}", "executables-claim": "/executables"}
    for model, path in _models(serve_config(CASE[case])).items():
        assert re.fullmatch(rf"{directories[case]}/{model}\.executables", path)


def test_no_model_names_steps_that_nobody_compiled() -> None:
    assert set(_models(serve_config(CASE["gpu"])).values()) == {None}
    assert set(_models(serve_config(CASE["executables-cache"])).values()) == {None}  # GPUs' are compiled where they run


@pytest.mark.parametrize(("name", "lost"), [("gpu", True), ("executables-cache", False), ("compile", False)])
def test_notes_say_that_steps_are_lost_with_their_pods_where_they_are(name: str, lost: bool) -> None:
    arguments = ("install", RELEASE, CHART, "-n", NAMESPACE, "--dry-run=client", *values(CASE[name]))
    notes = run("helm4", *arguments, case=CASE[name]).stdout.partition("\nNOTES:\n")[2]
    assert ("Each new pod of a group compiles its steps" in notes) == lost


def test_an_artefact_of_steps_is_mounted_by_its_digest() -> None:
    objects = _with("executables-claim", executables={"volume": {"existingClaim": "", "image": _ARTEFACT}})
    (service,) = of_kind(objects, "RayService").values()
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    volume = {"name": "executables", "image": {"reference": _ARTEFACT, "pullPolicy": "IfNotPresent"}}
    for group in groups:
        assert (volume in group["template"]["spec"]["volumes"]) == (group["groupName"] != "gateway")


def test_a_model_that_names_its_steps_keeps_them() -> None:
    models = yaml.safe_load(yaml.safe_dump(serve_config(CASE["tpu-v5e"])["applications"][0]["args"]["models"]))
    models = [{key: value for key, value in each.items() if key != "ray_actor_options"} for each in models]
    models[0]["executables"] = "/models/own.executables"
    found = _models(_config_of(_with("compile", serving={"models": models})))
    assert found[models[0]["id"]] == "/models/own.executables"


@pytest.mark.parametrize("case", ["compile", "compile-gcs-fuse"])
def test_the_job_compiles_what_the_release_will_ask_for_where_it_will_look(case: str, tmp_path: Path) -> None:
    objects = rendered(CASE[case])
    job = of_kind(objects, "Job")["codegemma-compile-tpu"]
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    command = ["codegemma", "compile", "/etc/codegemma/serve/serve.yaml", "--for", "tpu-v5e", "--if-missing"]
    assert container["command"] == command
    file = tmp_path / "serve.yaml"
    file.write_text(of_kind(objects, "ConfigMap")["codegemma-jobs"]["data"]["serve.yaml"])
    asked_for = ServingConfig.model_validate(_config_of(objects)["applications"][0]["args"])
    assert read_serve_file(file).config == asked_for
    (group,) = (each for name, each in worker_groups(CASE[case]).items() if name == "v5e-1x1")
    reader = group["template"]["spec"]["containers"][0]
    assert container["image"] == reader["image"]  # the same compiler, and the same code
    places = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert places["/executables"] == {"name": "executables", "mountPath": "/executables"}
    assert places[_KEY]["name"] == "executables-key" and places["/models"]["readOnly"]
    compiler = {each["name"]: each["value"] for each in container["env"]}
    groups = {each["name"]: each.get("value") for each in reader["env"]}
    assert compiler.items() <= groups.items()
    annotations = job["spec"]["template"]["metadata"].get("annotations", {})
    assert annotations == ({"gke-gcsfuse/volumes": "true"} if case == "compile-gcs-fuse" else {})


def test_what_steps_depend_on_moves_them_and_nothing_else_does() -> None:
    """So that the release before finds its own, and a model is deployed anew only if its steps changed."""
    models = [
        {"id": "a", "checkpoint": "/models/a", "roles": ["fim"], "topology": {"accelerator": "tpu-v5litepod"}},
        {"id": "b", "checkpoint": "/models/b", "roles": ["chat"], "topology": {"accelerator": "tpu-v5litepod"}},
    ]

    def found(changes: dict[str, Any], **values: Any) -> dict[str, Any]:
        return _models(_config_of(_with("compile", serving={"models": [models[0] | changes, models[1]]}, **values)))

    before = found({})
    assert found({"autoscaling": {"min_replicas": 1, "max_replicas": 9}, "default_max_tokens": 9}) == before
    other_limits = found({"limits": {"max_rows": 8}})
    assert other_limits["a"] != before["a"] and other_limits["b"] == before["b"]
    for changed in ({"image": {"tag": "2"}}, {"ray": {"environment": {"XLA_FLAGS": "--xla_a"}}}):
        others = found({}, **changed)
        assert others["a"] != before["a"] and others["b"] != before["b"]
    assert len(set(before.values())) == len(models)


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        (
            "gpu",
            {"executables": {"cache": {"existingClaim": "c"}}},
            ("executables.existingSecret is empty", "executables.cache.existingClaim=c", "head -c 32 /dev/urandom"),
        ),
        (
            "tpu-v5e",
            {"executables": {"volume": {"existingClaim": "c"}}},
            ("executables.existingSecret is empty", "executables.volume.existingClaim=c"),
        ),
        (
            "tpu-v5e",
            {"executables": {"existingSecret": "k", "compile": {"enabled": True}}},
            ("executables.compile.enabled=true", "executables.volume.existingClaim is empty"),
        ),
        (
            "gpu",
            {
                "executables": {
                    "existingSecret": "k",
                    "compile": {"enabled": True},
                    "volume": {"existingClaim": "c"},
                }
            },
            ("no model of serving.models is on TPUs", "executables.cache.existingClaim"),
        ),
        (
            "tpu-v5e",
            {"executables": {"existingSecret": "k", "volume": {"existingClaim": "c", "image": _ARTEFACT}}},
            ("existingClaim and image are set",),
        ),
        (
            "tpu-v5e",
            {"executables": {"existingSecret": "k", "volume": {"image": "registry/steps:1"}}},
            ("executables.volume.image=registry/steps:1 has no digest",),
        ),
        (
            "gpu",
            {
                "executables": {"existingSecret": "k", "cache": {"existingClaim": "c"}},
                "ray": {"environment": {"XDG_CACHE_HOME": "/x"}},
            },
            ("ray.environment.XDG_CACHE_HOME=/x", "executables.cache.existingClaim=c"),
        ),
    ],
)
def test_steps_that_no_pod_would_read_are_refused(
    helm: str, base: str, changes: dict[str, Any], said: tuple[str, ...]
) -> None:
    case = Case("mistake", CASE[base].profiles, merged(CASE[base].values, changes))
    result = template(helm, case, "--kube-version", "1.35.0", check=False)
    assert result.returncode and "nil pointer" not in result.stderr
    assert [each for each in said if each not in result.stderr] == [], result.stderr


@pytest.mark.parametrize("helm", HELMS)
def test_a_cluster_without_image_volumes_is_told_so(helm: str) -> None:
    values = {"executables": {"existingSecret": "k", "volume": {"image": _ARTEFACT}}}
    case = Case("image", CASE["tpu-v5e"].profiles, merged(CASE["tpu-v5e"].values, values))
    refused = template(helm, case, "--kube-version", "1.32.0", check=False)
    assert refused.returncode and "Kubernetes v1.32.0 has no image volumes yet" in refused.stderr
    assert template(helm, case, "--kube-version", "1.35.0").returncode == 0
