"""Jobs before an installation or upgrade: checkpoints downloaded, converted, and what those Jobs need."""

from typing import Any

import pytest
import yaml

from tests.helm.chart import (
    CASE,
    CASES,
    COMMIT,
    DOWNLOADS,
    HELMS,
    Case,
    Object,
    is_hook,
    merged,
    of_kind,
    rendered,
    template,
)

_WITH_JOBS = [case for case in CASES if of_kind(rendered(case), "Job")]
every_case_with_jobs = pytest.mark.parametrize("case", _WITH_JOBS, ids=str)
_HUB, _BUCKET = DOWNLOADS
_ARTEFACT = f"registry/codegemma-2b@sha256:{'1' * 64}"


def _weight(each: Object) -> int:
    return int(each["metadata"]["annotations"]["helm.sh/hook-weight"])


def _container(objects: list[Object], name: str) -> Object:
    (container,) = of_kind(objects, "Job")[name]["spec"]["template"]["spec"]["containers"]
    return dict(container)


@every_case_with_jobs
def test_jobs_run_before_the_service_one_kind_after_the_other(case: Case) -> None:
    jobs = of_kind(rendered(case), "Job")
    for each in jobs.values():
        assert each["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade,pre-rollback"
    order = [name for name, _ in sorted(jobs.items(), key=lambda job: _weight(job[1]))]
    kinds = [name.split("-")[1] for name in order]
    assert kinds == sorted(kinds, key=["download", "convert", "compile", "adapters"].index)


@every_case_with_jobs
def test_what_jobs_need_of_the_release_is_there_before_them_and_goes_with_them(case: Case) -> None:
    """Helm makes nothing else before its hooks have ended."""
    objects = rendered(case)
    made = {(each["kind"], each["metadata"]["name"]): each for each in objects if is_hook(each)}
    for job in of_kind(objects, "Job").values():
        spec = job["spec"]["template"]["spec"]
        needed = {("ServiceAccount", spec["serviceAccountName"])}
        own = (each for each in spec["volumes"] if each["name"] in ("scripts", "serve"))
        needed |= {("ConfigMap", each["configMap"]["name"]) for each in own}
        for each in needed:
            assert _weight(made[each]) < _weight(job)
            policy = made[each]["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
            assert policy == "before-hook-creation,hook-succeeded"


def test_a_release_without_jobs_has_nothing_for_them() -> None:
    assert not [each for each in rendered(CASE["gpu"]) if is_hook(each) and "test" not in each["metadata"]["name"]]


def test_a_checkpoint_comes_from_one_commit_of_the_hub_with_a_token_from_a_secret() -> None:
    container = _container(rendered(CASE["download"]), "codegemma-download-fim")
    options = ["--if-missing", "--revision", COMMIT, "--file", "*.safetensors", "--file", "*.json"]
    paths = ["google/codegemma-2b", "/models/raw/codegemma-2b"]
    assert container["command"] == ["codegemma", "download", *options, *paths]
    assert container["envFrom"] == [{"secretRef": {"name": "hugging-face"}}]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["HF_ENDPOINT"] == "https://hub.example.com"
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert environment["HF_HUB_DISABLE_XET"] == "1"  # it may take more memory than the Job has
    assert environment["HOME"] == "/tmp"  # the root file system is read-only
    assert container["image"].endswith("-cpu")


def test_a_bucket_is_copied_by_the_identity_of_the_service_account_in_an_image_of_its_own() -> None:
    container = _container(rendered(CASE["download"]), "codegemma-download-chat")
    assert container["command"] == ["sh", "/scripts/copy-bucket.sh", "gs://m/7b", "/models/codegemma-7b-it"]
    assert container["image"].startswith("docker.io/rclone/rclone:") and "envFrom" not in container
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["RCLONE_GCS_ENV_AUTH"] == environment["RCLONE_S3_ENV_AUTH"] == "true"


@pytest.mark.parametrize("name", ["download-fim", "download-chat", "convert-fim"])
def test_what_is_fetched_or_converted_is_written_to_the_claim(name: str) -> None:
    objects = rendered(CASE["download"])
    spec = of_kind(objects, "Job")[f"codegemma-{name}"]["spec"]["template"]["spec"]
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "codegemma-models"}} in spec["volumes"]
    assert {"name": "models", "mountPath": "/models"} in spec["containers"][0]["volumeMounts"]


def test_a_conversion_is_told_what_to_write() -> None:
    (job,) = of_kind(rendered(CASE["convert"]), "Job").values()
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    options = ["--if-missing", "--dtype", "bfloat16"]
    paths = ["/models/raw/codegemma-2b.gguf", "/models/codegemma-2b"]
    assert container["command"] == ["codegemma", "convert", *options, *paths]
    (quantising,) = of_kind(rendered(CASE["convert-quantize"]), "Job").values()
    (container,) = quantising["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["codegemma", "convert", *options, "--quantize", "int8", *paths]


def test_jobs_run_where_gateways_may_and_as_an_account_that_a_bucket_can_know() -> None:
    annotations = {"iam.gke.io/gcp-service-account": "models@p.iam"}
    values = {
        "models": {"download": DOWNLOADS},
        "gateway": {"nodeSelector": {"pool": "cpu"}, "tolerations": [{"key": "pool", "operator": "Exists"}]},
        "serviceAccount": {"annotations": annotations},
    }
    base = CASE["gpu"]
    text = template("helm4", Case("place", base.profiles, merged(base.values, values))).stdout
    objects = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    for job in of_kind(objects, "Job").values():
        spec = job["spec"]["template"]["spec"]
        assert spec["nodeSelector"] == {"pool": "cpu"} and spec["tolerations"][0]["key"] == "pool"
    account = of_kind(objects, "ServiceAccount")["codegemma-jobs"]
    assert annotations.items() <= account["metadata"]["annotations"].items()


_OF_OTHERS: dict[str, Any] = {
    "serviceAccount": {"create": False, "name": "models", "headName": "ray"},
    "image": {"pullSecrets": ["pull"]},
    "ray": {
        "extraEnv": [{"name": "H", "valueFrom": {"secretKeyRef": {"name": "headers", "key": "k"}}}],
        "extraEnvFrom": [{"configMapRef": {"name": "proxy"}}],
    },
    "extraVolumes": [
        {"name": "ca", "configMap": {"name": "company-ca"}},
        {"name": "both", "projected": {"sources": [{"secret": {"name": "token"}}]}},
    ],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}, {"name": "both", "mountPath": "/both"}],
}
_SOURCES = (
    ("ConfigMap", ("configMap", "configMapRef", "configMapKeyRef"), "name"),
    ("Secret", ("secret", "secretRef", "secretKeyRef"), "name"),
    ("Secret", ("secret",), "secretName"),
    ("PersistentVolumeClaim", ("persistentVolumeClaim",), "claimName"),
)


def _needed(node: Any) -> set[tuple[str, str]]:
    """Kind and name of what a pod refers to."""
    found = set()
    if isinstance(node, dict):
        for kind, keys, name in _SOURCES:
            found |= {(kind, node[key][name]) for key in keys if name in (node.get(key) or {})}
        found |= {("Secret", each["name"]) for each in node.get("imagePullSecrets", ())}
        found |= {("ServiceAccount", node["serviceAccountName"])} if "serviceAccountName" in node else set()
        node = list(node.values())
    return found.union(*map(_needed, node)) if isinstance(node, list) else found


@pytest.mark.parametrize("name", ["download", "compile-copy", "adapters-served", "convert"])
def test_what_jobs_wait_for_is_not_to_be_made_after_them(name: str) -> None:
    """An object of the release is made once the Jobs have ended."""
    base = CASE[name]
    values = merged(base.values, _OF_OTHERS)
    for volume in ("extraVolumes", "extraVolumeMounts"):
        values[volume] = [*base.values.get(volume, ()), *_OF_OTHERS[volume]]
        values[volume] = list({each["name"]: each for each in values[volume]}.values())
    text = template("helm4", Case(name, base.profiles, values)).stdout
    objects = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    jobs = [each["spec"]["template"]["spec"] for each in of_kind(objects, "Job").values()]
    needed = _needed(jobs) - {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert needed
    for kind, needed_name in sorted(needed):
        one: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": needed_name}}
        said = template("helm4", Case(name, base.profiles, values | {"extraObjects": [one]}), check=False).stderr
        assert f"extraObjects has the {kind} {needed_name}, which " in said, (kind, needed_name, said)
        assert "Make it yourself, before the release" in said
    one["metadata"] |= {"annotations": {"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-weight": "-40"}}
    template("helm4", Case(name, base.profiles, values | {"extraObjects": [one]}))


@pytest.mark.parametrize("helm", HELMS)
def test_an_account_that_is_there_already_is_that_of_the_jobs_too(helm: str) -> None:
    base = CASE["download"]
    accounts = {"serviceAccount": {"create": False, "name": "models", "headName": "ray"}}
    text = template(helm, Case("accounts", base.profiles, merged(base.values, accounts))).stdout
    objects = [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
    assert not of_kind(objects, "ServiceAccount")
    for job in of_kind(objects, "Job").values():
        assert job["spec"]["template"]["spec"]["serviceAccountName"] == "models"


def test_artefacts_are_mounted_as_checkpoints_by_their_digests() -> None:
    volume = {"existingClaim": "", "images": [{"path": "codegemma-2b", "reference": _ARTEFACT}]}
    base = CASE["gpu"]
    case = Case("images", base.profiles, merged(base.values, {"models": {"volume": volume}}))
    text = template("helm4", case, "--kube-version", "1.35.0").stdout
    (service,) = (each for each in yaml.load_all(text, yaml.CSafeLoader) if each and each["kind"] == "RayService")
    for group in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        source = {"reference": _ARTEFACT, "pullPolicy": "IfNotPresent"}
        assert {"name": "model-codegemma-2b", "image": source} in spec["volumes"]
        mount = {"name": "model-codegemma-2b", "mountPath": "/models/codegemma-2b", "readOnly": True}
        assert mount in spec["containers"][0]["volumeMounts"]


def _hub(**changes: Any) -> dict[str, Any]:
    return {"models": {"download": [merged(_HUB, changes)]}}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            _hub(huggingFace={"revision": "main"}),
            ("huggingFace.revision=main of google/codegemma-2b is no commit", "git ls-remote"),
        ),
        (_hub(bucket="gs://b/c"), ("models.download.fim: set huggingFace or bucket, one of the two",)),
        (
            {"models": {"download": [{key: _BUCKET[key] for key in ("name", "target", "cpu", "memory")}]}},
            ("models.download.chat: set huggingFace or bucket",),
        ),
        (
            {"models": {"download": DOWNLOADS, "volume": {"existingClaim": ""}}},
            ("models.download has 2 entries, but models.volume.existingClaim is empty",),
        ),
        (
            {"models": {"download": [_HUB, _BUCKET | {"target": _HUB["target"]}]}},
            ("models.download.chat.target=/models/raw/codegemma-2b is the target of fim too",),
        ),
        ({"models": {"download": [_HUB, _BUCKET | {"name": "fim"}]}}, ("models.download: the name fim is taken",)),
        (
            {"models": {"download": [_HUB | {"name": "a" * 32}]}, "fullnameOverride": "b" * 40},
            ("of 82 characters. Kubernetes allows 63",),
        ),
        (
            {
                "models": {
                    "volume": {"existingClaim": "", "images": [{"path": "codegemma-2b", "reference": "registry/a:1"}]}
                }
            },
            ("models.volume.images codegemma-2b=registry/a:1 has no digest",),
        ),
        ({"models": {"volume": {"images": [{"path": "a", "reference": _ARTEFACT}]}}}, ("existingClaim and images",)),
    ],
)
def test_downloads_that_would_not_do_are_refused(helm: str, values: dict[str, Any], said: tuple[str, ...]) -> None:
    case = Case("mistake", CASE["gpu"].profiles, merged(CASE["gpu"].values, values))
    result = template(helm, case, "--kube-version", "1.35.0", check=False)
    assert result.returncode and "nil pointer" not in result.stderr
    assert [each for each in said if each not in result.stderr] == [], result.stderr
