"""The chart, rendered: by both Helms, with every profile and every toggle."""

import functools
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "codegemma-serving"
HELMS = ("helm3", "helm4")
KUBERNETES = ("1.30.0", "1.33.0", "1.36.0")
RELEASE = NAMESPACE = "codegemma"

Object = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Values to render the chart with: profiles, then further values."""

    name: str
    profiles: tuple[str, ...]
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


KEYS = {"auth": {"existingSecret": "codegemma-keys"}, "image": {"repository": "codegemma-serving"}}
CLAIM = {"models": {"volume": {"existingClaim": "codegemma-models"}}}


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries in one, later layers first."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result


def _worker(**fields: Any) -> dict[str, Any]:
    return {"minReplicas": 1, "maxReplicas": 2, "cpu": 8, "memory": "32Gi", **fields}


def _model(**fields: Any) -> dict[str, Any]:
    return {"id": "model", "checkpoint": "/models/model", "roles": ["fim", "chat"], **fields}


def _slice(topology: str, **fields: Any) -> dict[str, Any]:
    """Values with one model on one kind of slice."""
    hosts, chips = fields.pop("hosts"), fields.pop("chips")
    model = _model(topology={"accelerator": "tpu-v5litepod", "chips_per_host": chips, "hosts": hosts})
    worker = _worker(name="slices", accelerator="tpu-v5litepod", topology=topology, **fields)
    return {"serving": {"models": [model]}, "workers": [worker]}


_CONVERSION = {
    "name": "fim",
    "source": "/models/raw/codegemma-2b.gguf",
    "target": "/models/codegemma-2b",
    "dtype": "bfloat16",
    "cpu": 4,
    "memory": "8Gi",
}
_SERVED = [
    {"model": "model", "name": "team-a", "source": "versions/team-a-2"},
    {"model": "model", "name": "team-b", "source": "versions/b.nemo"},
]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DOWNLOADS: list[dict[str, Any]] = [
    {
        "name": "fim",
        "target": "/models/raw/codegemma-2b",
        "huggingFace": {"repository": "google/codegemma-2b", "revision": COMMIT, "files": ["*.safetensors", "*.json"]},
        "credentialsSecret": "hugging-face",
        "env": [{"name": "HF_ENDPOINT", "value": "https://hub.example.com"}],
        "cpu": 2,
        "memory": "4Gi",
    },
    {"name": "chat", "target": "/models/codegemma-7b-it", "bucket": "gs://m/7b", "cpu": 2, "memory": "1Gi"},
]
_FROM_DOWNLOAD = {"source": "/models/raw/codegemma-2b"}
_ALL_EXECUTABLES = {
    "existingSecret": "codegemma-executables",
    "volume": {"existingClaim": "codegemma-executables"},
    "compile": {"enabled": True},
    "cache": {"existingClaim": "codegemma-cache"},
}
_CERTIFICATE = {"enabled": True, "secretName": "tls", "dnsNames": ["code.example.com"], "issuerRef": {"name": "acme"}}
_ROUTES = {
    "enabled": True,
    "parentRefs": [{"name": "edge", "namespace": "edge"}],
    "httpHostnames": ["code.example.com"],
    "grpcHostnames": ["grpc.code.example.com"],
}
_ENVOY = {"enabled": True, "tlsSecret": "tls", "clientCaSecret": "clients", "clients": [{"podSelector": {}}]}
_GATEWAY = {
    "enabled": True,
    "httpHostnames": ["code.example.com", "code.example.org"],
    "grpcHostnames": ["grpc.code.example.com"],
    "gateway": {"create": True, "className": "eg", "tlsSecret": "tls", "clusterIssuer": "acme"},
}
_CANARY = {"name": "codegemma-canary", "weight": 10}
_POOL = {"enabled": True, "endpointPicker": {"name": "codegemma-picker"}}
_INGRESS = {"enabled": True, "host": "code.example.com", "tlsSecret": "tls", "clusterIssuer": "acme"}
_PEERS = [{"namespaceSelector": {"matchLabels": {"team": "editors"}}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]
_PROXY = {"ipBlock": {"cidr": "203.0.113.8/32"}}
_TO_REDIS = {"to": [{"podSelector": {"matchLabels": {"app": "redis"}}}], "ports": [{"port": 6379}]}


def _egress(*layers: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Values with everything closed that pods could call, but for what must be open."""
    return merged({"networkPolicy": {"egress": {"enabled": True, "rules": [_TO_REDIS], **fields}}}, *layers)


_GCS_FUSE = {"models": {"volume": {"existingClaim": "", "gcsFuse": {"bucket": "models"}}}}
_COPIED = {"path": "codegemma-2b", "bucket": "s3://m/2b"}
_TRUSTED = {"name": "RCLONE_CA_CERT", "value": "/etc/company-ca/ca.crt"}


def _copy(**fields: Any) -> dict[str, Any]:
    """Values with a checkpoint that each pod copies."""
    return {"models": {"volume": {"existingClaim": "", "copy": {"buckets": [_COPIED], **fields}}}}


_RULES = {"enabled": True, "runbookUrl": "https://example.com/runbook.md", "labels": {"release": "prometheus"}}
_MONITORING = {
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": _RULES,
    "dashboards": {"enabled": True},
}
_EXTRA = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": '{{ include "codegemma.fullname" . }}-extra', "namespace": NAMESPACE},
}
_DIGESTS = {"cpu": f"sha256:{'1' * 64}", "gpu": f"sha256:{'2' * 64}"}
_CA = {"name": "ca", "mountPath": "/etc/company-ca", "readOnly": True}
_AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
        }
    }
}


def _part(name: str) -> dict[str, Any]:
    """Settings of the pods of one part."""
    return {
        "podLabels": {"part": name},
        "podAnnotations": {"example.com/part": name},
        "affinity": _AFFINITY,
        "runtimeClassName": name,
    }


SETTINGS: dict[str, Any] = {
    "commonLabels": {"team": "editors"},
    "commonAnnotations": {"example.com/owner": "editors"},
    "podLabels": {"cost-centre": "42", "part": "any"},
    "podAnnotations": {"sidecar.istio.io/inject": "false"},
    "extraVolumes": [{"name": "ca", "configMap": {"name": "codegemma-extra"}}],
    "extraVolumeMounts": [_CA],
    "image": {"repository": "registry:5000/team/codegemma", "digests": _DIGESTS, "pullSecrets": ["pull"]},
    "head": _part("head") | {"ephemeralStorage": "10Gi"},
    "gateway": _part("gateway") | {"ephemeralStorage": "10Gi"},
    "workers": [
        _worker(
            name="gpu",
            accelerator="gpu",
            chipsPerHost=1,
            ephemeralStorage="20Gi",
            maxReplicas=6,
            minReplicas=4,
            **_part("gpu"),
        )
    ],
    "ray": {
        "extraEnv": [{"name": "HEADERS", "valueFrom": {"secretKeyRef": {"name": "traces", "key": "headers"}}}],
        "extraEnvFrom": [{"secretRef": {"name": "proxy"}}],
    },
    "edge": {"envoy": {"enabled": True, "tlsSecret": "tls", "serviceAnnotations": {"a": "b"}, **_part("envoy")}},
    "service": {
        "type": "LoadBalancer",
        "annotations": {"networking.gke.io/load-balancer-type": "Internal"},
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
    },
    "networkPolicy": {"clients": _PEERS},
    "models": {"volume": {"existingClaim": "", "copy": {"buckets": [_COPIED], "env": [_TRUSTED], "size": "30Gi"}}},
    "extraObjects": [_EXTRA],
}
_PLACE = {"nodeSelector": {"pool": "cpu"}, "tolerations": [{"key": "pool", "operator": "Exists"}]}

_ISSUER = {"issuer": "https://login.example/realms/code", "audience": ["codegemma"], "tenant_claim": "team"}
_QUOTAS = {"redis": "redis://redis:6379/1", "per_tenant": {"requests_per_minute": 600}}

_TPU_TOGGLES: dict[str, dict[str, Any]] = {
    "compile": {"executables": _ALL_EXECUTABLES},
    "compile-gcs-fuse": _egress(_GCS_FUSE, {"executables": _ALL_EXECUTABLES}),
    "compile-copy": merged(
        _copy(credentialsSecret="s3", env=[_TRUSTED]),
        {"executables": _ALL_EXECUTABLES, "extraVolumeMounts": [_CA]},
        {"extraVolumes": [{"name": "ca", "secret": {"secretName": "company-ca"}}]},
    ),
    "executables-claim": {"executables": {"existingSecret": "k", "volume": {"existingClaim": "codegemma-executables"}}},
}

_TOGGLES: dict[str, dict[str, Any]] = {
    "tokens": {"auth": {"existingSecret": ""}, "serving": {"gateway": {"issuers": [_ISSUER]}}},
    "quotas": {"serving": {"gateway": {"quotas": _QUOTAS}}, "quotas": {"redis": {"passwordSecret": {"name": "redis"}}}},
    "anyone": {"auth": {"existingSecret": "", "required": False}},
    "gcs-fuse": {"models": {"volume": {"existingClaim": "", "gcsFuse": {"bucket": "models", "onlyDir": "gemma"}}}},
    "copy": _copy(credentialsSecret="s3", env=[{"name": "RCLONE_S3_ENDPOINT", "value": "https://minio:9000"}]),
    "executables": {"executables": {"existingSecret": "codegemma-executables"}},
    "executables-cache": {
        "executables": {"existingSecret": "codegemma-executables", "cache": {"existingClaim": "codegemma-cache"}}
    },
    "download": {"models": {"download": DOWNLOADS, "convert": [_CONVERSION | _FROM_DOWNLOAD]}},
    "egress-download": _egress({"models": {"download": DOWNLOADS}}),
    "egress-download-secret": _egress({"models": {"download": DOWNLOADS[:1]}}, download={"peers": [_PROXY]}),
    "adapters": {"models": {"adapters": {"existingClaim": "codegemma-adapters"}}},
    "adapters-served": {
        "models": {"adapters": {"existingClaim": "codegemma-adapters", "served": _SERVED}},
        "serving": {"models": [_model(topology={"accelerator": "gpu"}, adapters={"directory": "/adapters/model"})]},
    },
    "convert": {"models": {"convert": [_CONVERSION]}},
    "convert-quantize": {"models": {"convert": [_CONVERSION | {"quantize": "int8"}]}},
    "ingress": {"edge": {"controllerNamespace": "traefik", "ingress": _INGRESS}},
    "ingress-nginx": {"edge": {"controllerNamespace": "ingress-nginx", "ingress": _INGRESS | {"className": "nginx"}}},
    "gateway-api": {"edge": {"controllerNamespace": "edge", "gatewayApi": _ROUTES}},
    "gateway": {"edge": {"controllerNamespace": "envoy-gateway-system", "gatewayApi": _GATEWAY}},
    "canary": {"edge": {"controllerNamespace": "edge", "gatewayApi": _ROUTES | {"canary": _CANARY}}},
    "inference-pool": {"edge": {"controllerNamespace": "edge", "gatewayApi": _ROUTES | {"inferencePool": _POOL}}},
    "certificate": {"edge": {"certificate": _CERTIFICATE}},
    "envoy": {"edge": {"certificate": _CERTIFICATE, "envoy": _ENVOY}, "monitoring": _MONITORING},
    "envoy-without-client-certificates": {"edge": {"envoy": {"enabled": True, "tlsSecret": "tls"}}},
    "monitoring": {"monitoring": _MONITORING},
    "no-network-policy": {"networkPolicy": {"enabled": False}},
    "network-policy": {"networkPolicy": {"clients": _PEERS, "egress": {"enabled": True, "rules": [{"to": _PEERS}]}}},
    "egress": _egress(),
    "egress-narrow": _egress(apiServer={"peers": [{"ipBlock": {"cidr": "203.0.113.7/32"}}]}),
    "egress-gcs-fuse": _egress(_GCS_FUSE),
    "egress-copy": _egress(_copy()),
    "egress-copy-secret": _egress(_copy(credentialsSecret="s3")),
    "egress-annotations": _egress({"serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "a@p.iam"}}}),
    "nobody-scrapes": {"networkPolicy": {"monitoring": []}},
    "redis": {
        "gcs": {"redis": {"address": "rediss://redis:6379", "username": "ray", "passwordSecret": {"name": "redis"}}}
    },
    "rocksdb": {"gcs": {"redis": {"address": ""}, "rocksdb": {"size": "2Gi", "storageClassName": "ssd"}}},
    "mtls": {"ray": {"mtls": True}},
    "no-ray-token": {"ray": {"tokenAuth": False, "upgradeStrategy": "None"}},
    "long-requests": {
        "serving": {"gateway": {"request_timeout_s": 900.5}},
        "edge": {"envoy": {"enabled": True, "tlsSecret": "tls"}},
    },
    "environment": {"ray": {"environment": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}}},
    "registry": {"image": {"repository": "registry:5000/team/codegemma", "tag": "1.2.3", "pullSecrets": ["pull"]}},
    "priority": {"priorityClass": {"create": True, "name": "urgent"}},
    "priority-of-others": {"priorityClass": {"name": "system-node-critical"}},
    "grace": {"terminationGracePeriodSeconds": 900},
    "identity": {"serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "models@p.iam"}}},
    "placement": {"head": _PLACE, "gateway": _PLACE},
    "test-with-key": {"test": {"apiKeySecret": "smoke-test"}},
    "settings": SETTINGS,
    "settings-convert": {"models": {"convert": [_CONVERSION]}, "podLabels": {"cost-centre": "42"}},
    "extra": {"extraObjects": [_EXTRA]},
}
_SHARED = {
    "serving": {"models": [_model(topology={"accelerator": "tpu-v5litepod"})]},
    "workers": [_worker(name="slices", accelerator="tpu-v5litepod", topology="2x2")],
}
_SLICES = {
    "tpu-2x2-shared": _SHARED,
    "tpu-1x1": _slice("1x1", hosts=1, chips=1),
    "tpu-2x2": _slice("2x2", hosts=1, chips=4),
    "tpu-2x4-one-host": _slice("2x4", hosts=1, chips=8, chipsPerHost=8),
    "tpu-2x4-two-hosts": _slice("2x4", hosts=2, chips=4, minReplicas=2, maxReplicas=3),
    "tpu-4x4-three-slices": _slice("4x4", hosts=4, chips=4, minReplicas=3, maxReplicas=3, minAvailable=1),
    "tpu-4x4": _slice("4x4", hosts=4, chips=4, minAvailable=0),
}
PROFILES = (
    Case("demo", ("demo",), KEYS),
    Case("gpu", ("gpu",), merged(KEYS, CLAIM)),
    Case("tpu-v5e", ("tpu-v5e",), merged(KEYS, CLAIM)),
    Case("tpu-v5e-8t", ("tpu-v5e-8t",), merged(KEYS, CLAIM)),
    Case("tpu-v5e-two-hosts", ("tpu-v5e-two-hosts",), merged(KEYS, CLAIM)),
    Case("gpu-ha", ("gpu", "ha"), merged(KEYS, CLAIM)),
    Case("tpu-v5e-ha", ("tpu-v5e", "ha"), merged(KEYS, CLAIM)),
)
_HA = (
    Case("demo-ha", ("demo", "ha"), KEYS),
    Case("tpu-v5e-8t-ha", ("tpu-v5e-8t", "ha"), merged(KEYS, CLAIM)),
    Case("tpu-v5e-two-hosts-ha", ("tpu-v5e-two-hosts", "ha"), merged(KEYS, CLAIM)),
)
CASES = (
    *PROFILES,
    *_HA,
    *(Case(name, ("gpu", "ha"), merged(KEYS, CLAIM, values)) for name, values in _TOGGLES.items()),
    *(Case(name, ("tpu-v5e",), merged(KEYS, CLAIM, values)) for name, values in _TPU_TOGGLES.items()),
    *(Case(name, (), merged(KEYS, CLAIM, values)) for name, values in _SLICES.items()),
)
CASE = {case.name: case for case in CASES}
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@functools.cache
def _objects(helm: str, case_name: str, kubernetes: str) -> list[Object]:
    text = template(helm, CASE[case_name], "--kube-version", kubernetes).stdout
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def template(helm: str, case: Case, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`helm template` of a case."""
    return run(helm, "template", RELEASE, CHART, "-n", NAMESPACE, *values(case), *arguments, case=case, check=check)


def values(case: Case) -> tuple[str, ...]:
    """Helm's arguments for a case, whose own values come by standard input."""
    files = (argument for profile in case.profiles for argument in ("-f", str(CHART / f"values-{profile}.yaml")))
    return (*files, "-f", "-")


def run(
    helm: str, *arguments: object, case: Case | None = None, check: bool = True, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Helm, with the case's own values as standard input."""
    command = [str(ROOT / ".helm" / helm), *map(str, arguments)]
    given = yaml.safe_dump(dict(case.values)) if case else None
    result = subprocess.run(command, input=given, text=True, capture_output=True, timeout=120, **options)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return result


def rendered(case: Case, helm: str = "helm4", kubernetes: str = KUBERNETES[1]) -> list[Object]:
    """The objects of a case, rendered once; not to be changed."""
    return _objects(helm, case.name, kubernetes)


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Objects of one kind, by name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def ray_service(case: Case) -> Object:
    """The RayService of a case."""
    return of_kind(rendered(case), "RayService")[RELEASE]


def serve_config(case: Case) -> Object:
    """The Serve config inside it."""
    config: Object = yaml.safe_load(ray_service(case)["spec"]["serveConfigV2"])
    return config


def worker_groups(case: Case) -> dict[str, Object]:
    """Its worker groups, by name."""
    groups = ray_service(case)["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return {group["groupName"]: group for group in groups}


def pods(objects: list[Object]) -> Iterator[tuple[str, Object, int]]:
    """Every pod template, with a name and the least number of such pods; those of Ray have KubeRay's labels too."""
    for each in objects:
        match each["kind"]:
            case "Pod":
                yield each["metadata"]["name"], each, 1
            case "Job":
                yield each["metadata"]["name"], each["spec"]["template"], 1
            case "Deployment":
                yield each["metadata"]["name"], each["spec"]["template"], each["spec"]["replicas"]
            case "RayService":
                cluster = each["spec"]["rayClusterConfig"]
                yield "head", _of_ray(cluster["headGroupSpec"]["template"], "headgroup"), 1
                for group in cluster["workerGroupSpecs"]:
                    least = group["minReplicas"] * group.get("numOfHosts", 1)
                    yield group["groupName"], _of_ray(group["template"], group["groupName"]), least


def _of_ray(template: Object, group: str) -> Object:
    """As KubeRay makes pods: with labels of its own, most of which a template can replace."""
    replaceable = {"app.kubernetes.io/name": "kuberay", "ray.io/is-ray-node": "yes"}
    labels = replaceable | template["metadata"]["labels"] | {"ray.io/group": group}
    return merged(template, {"metadata": {"labels": labels}})


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector, or a Service's, matches labels."""
    plain = "matchLabels" not in selector and "matchExpressions" not in selector
    wanted: Mapping[str, str] = selector if plain else selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
        if each["operator"] == "In"
    )


def is_hook(each: Object) -> bool:
    """Whether an object is made for a test only."""
    return "helm.sh/hook" in each["metadata"].get("annotations", {})


def fingerprint(each: Object) -> str:
    """Equal for equal objects."""
    return json.dumps(each, sort_keys=True)
