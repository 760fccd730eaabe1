"""Mistakes in values, each refused by both Helms with the key in the message."""

from typing import Any

import pytest

from serving.models.topology import Topology
from tests.helm.chart import CASE, CLAIM, DOWNLOADS, HELMS, KEYS, Case, merged, template
from tests.helm.mistake import Mistake, assert_named, refusal


def _model(**fields: Any) -> dict[str, Any]:
    good = {"id": "model", "checkpoint": "/models/model", "roles": ["fim"], "topology": {"accelerator": "gpu"}}
    return {"serving": {"models": [merged(good, fields)]}}


def _worker(**fields: Any) -> dict[str, Any]:
    good = {"name": "gpu", "accelerator": "gpu", "minReplicas": 1, "maxReplicas": 2, "cpu": 8, "memory": "32Gi"}
    return {"workers": [merged(good, fields)]}


def _slice(**fields: Any) -> dict[str, Any]:
    return _worker(name="slices", accelerator="tpu-v5litepod", **fields)


_ISSUER = {"issuer": "https://login.example", "audience": ["codegemma"]}
_CONVERSION = {
    "name": "a",
    "source": "/models/a",
    "target": "/models/b",
    "dtype": "bfloat16",
    "cpu": 1,
    "memory": "1Gi",
}


_COPIED = {"path": "model", "bucket": "s3://m/2b"}


def _copy(**changes: Any) -> dict[str, Any]:
    return {"models": {"volume": {"existingClaim": "", "copy": {"buckets": [_COPIED | changes]}}}}


def _environment(name: str) -> dict[str, Any]:
    return {"ray": {"environment": {name: "0"}}}


SCHEMA = [
    Mistake(("gatway",), {"gatway": {"minReplicas": 2}}),
    Mistake(("serving", "models"), {"serving": {"models": None}}),
    Mistake(("serving", "models"), {"serving": {"models": []}}),
    Mistake(("models", "0", "checkpoint"), {"serving": {"models": [{"id": "a", "roles": ["fim"]}]}}),
    Mistake(("models", "0", "topolgy"), _model(topolgy={"accelerator": "gpu"})),
    Mistake(("models", "0", "roles"), _model(roles=["completion"])),
    Mistake(("models", "0", "accelerator"), _model(topology={"accelerator": "h100"})),
    Mistake(("models", "0", "limits", "max_rows"), _model(limits={"max_rows": "many"})),
    Mistake(("models", "0", "drain_timeout_s"), _model(drain_timeout_s=0)),
    Mistake(("models", "0", "autoscaling", "max_replicas"), _model(autoscaling={"min_replicas": 1})),
    Mistake(("gateway", "keys_file"), {"serving": {"gateway": {"keys_file": "/keys.yaml"}}}),
    Mistake(("gateway", "anyone"), {"serving": {"gateway": {"anyone": True}}}),
    Mistake(("gateway", "request_timeout_s"), {"serving": {"gateway": {"request_timeout_s": -1}}}),
    Mistake(("workers", "0", "name"), _worker(name="GPU_nodes")),
    Mistake(("workers", "0", "accelerator"), _worker(accelerator="tpu")),
    Mistake(("workers", "0", "topology"), _worker(topology="2x3")),
    Mistake(("workers", "0", "replicas"), _worker(replicas=2)),
    Mistake(("workers", "0", "cpu"), _worker(cpu="eight")),
    Mistake(("workers", "0", "memory"), _worker(memory=32)),
    Mistake(("workers", "0", "minReplicas"), _worker(minReplicas=-1)),
    Mistake(("head", "replicas"), {"head": {"replicas": 2}}),
    Mistake(("gateway", "minReplicas"), {"gateway": {"minReplicas": "two"}}),
    Mistake(("gateway", "minReplicas"), {"gateway": {"minReplicas": 0}}),
    Mistake(("auth", "required"), {"auth": {"required": "yes"}}),
    Mistake(("auth", "keys"), {"auth": {"keys": ["cg_12345678_secret"]}}),
    Mistake(("models", "volume", "hostPath"), {"models": {"volume": {"hostPath": "/mnt"}}}),
    Mistake(("download", "0", "bucket"), {"models": {"download": [DOWNLOADS[1] | {"bucket": "https://m/7b"}]}}),
    Mistake(("download", "0", "target"), {"models": {"download": [DOWNLOADS[1] | {"target": "/tmp/7b"}]}}),
    Mistake(
        ("gcsFuse", "mountOptions", "0"),
        {"models": {"volume": {"existingClaim": "", "gcsFuse": {"bucket": "m", "mountOptions": ["a,b"]}}}},
    ),
    Mistake(("convert", "0", "target"), {"models": {"convert": [_CONVERSION | {"target": "/tmp/model"}]}}),
    Mistake(("convert", "0", "dtype"), {"models": {"convert": [_CONVERSION | {"dtype": "int8"}]}}),
    Mistake(("copy", "buckets", "0", "bucket"), _copy(bucket="https://m/7b")),
    Mistake(("copy", "buckets", "0", "path"), _copy(path="a/b")),
    Mistake(("redis", "address"), {"gcs": {"redis": {"address": "redis"}}}),
    Mistake(("redis", "password"), {"gcs": {"redis": {"password": "secret"}}}),
    Mistake(("ray", "version"), {"ray": {"version": "latest"}}),
    Mistake(("ray", "upgradeStrategy"), {"ray": {"upgradeStrategy": "NewClusterWithIncrementalUpgrade"}}),
    Mistake(("image", "pullPolicy"), {"image": {"pullPolicy": "Sometimes"}}),
    Mistake(("image", "repository"), {"image": {"repository": "codegemma:1.0"}}),
    Mistake(("networkPolicy", "clients", "0", "namespace"), {"networkPolicy": {"clients": [{"namespace": "a"}]}}),
    Mistake(("networkPolicy", "operator"), {"networkPolicy": {"operator": []}}),
    Mistake(("egress", "dns", "ports", "0"), {"networkPolicy": {"egress": {"dns": {"ports": ["dns"]}}}}),
    Mistake(("egress", "dns", "peers"), {"networkPolicy": {"egress": {"dns": {"peers": []}}}}),
    Mistake(("envoy", "replicas"), {"edge": {"envoy": {"replicas": 1}}}),
    Mistake(("runbookUrl",), {"monitoring": {"prometheusRule": {"runbookUrl": "docs/runbook.md"}}}),
    Mistake(("errorRatio",), {"monitoring": {"prometheusRule": {"errorRatio": 2}}}),
    Mistake(("fullnameOverride",), {"fullnameOverride": "Code_Assist"}),
    Mistake(("image", "digests", "gpu"), {"image": {"digests": {"gpu": "latest"}}}),
    Mistake(("gateway", "ephemeralStorage"), {"gateway": {"ephemeralStorage": "much"}}),
    Mistake(("extraVolumes", "0", "name"), {"extraVolumes": [{"configMap": {"name": "ca"}}]}),
    Mistake(("service", "type"), {"service": {"type": "ExternalName"}}),
    Mistake(("autoscaling",), {"autoscaling": {"enabled": True}}),
]

TEMPLATES = [
    Mistake(("workers is empty", "values-demo.yaml"), {"workers": []}),
    Mistake(
        ("image.repository is empty", "0.1.0-cpu and 0.1.0-gpu", "FLAVOR=cpu,gpu ", "--set image.repository=REGISTRY/"),
        {"image": {"repository": ""}},
    ),
    Mistake(("image.repository is empty", "the tags 2-demo."), {"image": {"repository": "", "tag": "2"}}, base="demo"),
    Mistake(("auth.existingSecret", "codegemma keys create", "auth.required=false"), {"auth": {"existingSecret": ""}}),
    Mistake(
        ("serving.gateway.issuers", "auth.required=false"),
        {"auth": {"existingSecret": "", "required": False}, "serving": {"gateway": {"issuers": [_ISSUER]}}},
    ),
    Mistake(("auth.existingSecret=codegemma-keys", "auth.required=false"), {"auth": {"required": False}}),
    Mistake(("models.volume", "codegemma-2b", "/models/codegemma-2b"), {"models": {"volume": {"existingClaim": ""}}}),
    Mistake(
        ("models.convert", "models.volume.existingClaim"),
        {"models": {"volume": {"existingClaim": ""}, "convert": [_CONVERSION]}},
    ),
    Mistake(
        ("models.adapters.existingClaim is empty", "serving.models model", "/adapters/7b"),
        _model(adapters={"directory": "/adapters/7b"}),
    ),
    Mistake(
        ("models.volume is empty", "serving.models model", "adapters.directory=/models/adapters"),
        merged(
            _model(checkpoint="package:model", adapters={"directory": "/models/adapters"}),
            {"models": {"volume": {"existingClaim": ""}}},
        ),
    ),
    Mistake(
        ("adapters.directory=/models/adapters", "models.volume.copy", "models.adapters.existingClaim"),
        merged(
            _model(adapters={"directory": "/models/adapters"}),
            _copy(),
        ),
    ),
    Mistake(
        ("adapters.directory=/models,", "models.volume.copy", "models.adapters.existingClaim"),
        merged(
            _model(adapters={"directory": "/models"}),
            _copy(),
        ),
    ),
    Mistake(
        ("existingClaim and copy.buckets",),
        merged(_copy(), {"models": {"volume": {"existingClaim": "codegemma-models"}}}),
    ),
    Mistake(
        ("models.volume.copy.buckets: the path model is taken",),
        {"models": {"volume": {"existingClaim": "", "copy": {"buckets": [_COPIED, _COPIED]}}}},
    ),
    Mistake(("workers", "name gpu is taken"), {"workers": _worker()["workers"] * 2}),
    Mistake(("workers", "name gateway is taken by the Gateways"), _worker(name="gateway")),
    Mistake(("workers.gpu.minReplicas=3", "maxReplicas=2"), _worker(minReplicas=3)),
    Mistake(("workers.gpu.topology=2x2", "accelerator=gpu"), _worker(topology="2x2")),
    Mistake(("workers.slices.gpuType=nvidia-l4",), _slice(topology="2x2", gpuType="nvidia-l4")),
    Mistake(("workers.slices.topology is missing",), _slice()),
    Mistake(("workers.slices.chipsPerHost=2",), _slice(topology="2x2", chipsPerHost=2)),
    Mistake(("workers.slices.chipsPerHost=8", "topology=4x4"), _slice(topology="4x4", chipsPerHost=8)),
    Mistake(("workers.slices.chipsPerHost=8", "topology=2x2"), _slice(topology="2x2", chipsPerHost=8)),
    Mistake(
        ("serving.models model", "a slice of 4 chips on one host", "slices (tpu-v5litepod, 1 x 8 chips)", "2x2"),
        merged(
            _model(topology={"accelerator": "tpu-v5litepod", "chips_per_host": 4}),
            _slice(topology="2x4", chipsPerHost=8),
        ),
    ),
    Mistake(
        ("serving.models model", "a slice of 8 chips on one host", "2x4 with chipsPerHost 8"),
        merged(_model(topology={"accelerator": "tpu-v5litepod", "chips_per_host": 8}), _slice(topology="2x4")),
    ),
    Mistake(
        ("serving.models model", "1 host(s) x 1 of tpu-v5litepod"),
        merged(_model(topology={"accelerator": "tpu-v5litepod"}), _slice(topology="2x4")),
    ),
    Mistake(("workers.gpu.minAvailable=2", "minReplicas=2"), _worker(minReplicas=2, minAvailable=2)),
    Mistake(
        ("serving.models model", "1 host(s) x 4 of gpu", "gpu (gpu, 1 x 1 chips)"),
        merged(_model(topology={"chips_per_host": 4}), _worker()),
    ),
    Mistake(
        ("serving.models model", "2 host(s) x 4 of tpu-v5litepod", "slices (tpu-v5litepod, 1 x 8 chips)"),
        merged(
            _model(topology={"accelerator": "tpu-v5litepod", "chips_per_host": 4, "hosts": 2}),
            _slice(topology="2x4", chipsPerHost=8),
        ),
    ),
    Mistake(("serving.models gemma-3-270m", "of cpu", "gpu (gpu"), _worker(), base="demo"),
    Mistake(
        ("highAvailability.enabled=true", "gcs.redis.address is empty"),
        {"gcs": {"redis": {"address": ""}}},
        base="gpu-ha",
    ),
    Mistake(
        ("highAvailability.enabled=true", "gateway.minReplicas=1", "values-ha.yaml"),
        {"gateway": {"minReplicas": 1}},
        base="gpu-ha",
    ),
    Mistake(("gateway.minReplicas=3", "gateway.maxReplicas=2"), {"gateway": {"minReplicas": 3}}),
    Mistake(("gateway.minReplicas=2", "serving.gateway.replicas=1"), {"gateway": {"minReplicas": 2}}),
    Mistake(
        ("gateway.maxReplicas=3", "serving.gateway.replicas=2", "to 4 at least"),
        {"serving": {"gateway": {"replicas": 2}}, "gateway": {"maxReplicas": 3}},
    ),
    Mistake(
        ("ray.environment.RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S=0", "to be 330"),
        _environment("RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"),
    ),
    Mistake(("gateway.minAvailable=3", "gateway.minReplicas=3"), {"gateway": {"minAvailable": 3}}, base="gpu-ha"),
    Mistake(("terminationGracePeriodSeconds=120", "drain_timeout_s", "165"), {"terminationGracePeriodSeconds": 120}),
    Mistake(("ray.environment.RAY_SERVE_ENABLE_HA_PROXY=0", "to be 1"), _environment("RAY_SERVE_ENABLE_HA_PROXY")),
    Mistake(
        ("ray.environment.RAY_gcs_rpc_server_reconnect_timeout_s=0", "to be 3600"),
        merged(_environment("RAY_gcs_rpc_server_reconnect_timeout_s"), CASE["redis"].values),
    ),
    Mistake(
        ("networkPolicy.egress.enabled=true", "networkPolicy.egress.rules is empty", "gcs.redis.address="),
        {"networkPolicy": {"egress": {"enabled": True}}},
        base="gpu-ha",
    ),
    Mistake(
        ("networkPolicy.egress.rules is empty", "models.volume.gcsFuse.bucket=m", "issuers https://login.example"),
        {
            "networkPolicy": {"egress": {"enabled": True}},
            "models": {"volume": {"existingClaim": "", "gcsFuse": {"bucket": "m"}}},
            "serving": {"gateway": {"issuers": [_ISSUER]}},
        },
    ),
    Mistake(
        ("gateway.podLabels", "app.kubernetes.io/name=x"), {"gateway": {"podLabels": {"app.kubernetes.io/name": "x"}}}
    ),
    Mistake(("workers.gpu.podLabels", "ray.io/group=x"), _worker(podLabels={"ray.io/group": "x"})),
    Mistake(("podLabels has ray.io/group=x",), {"podLabels": {"ray.io/group": "x"}}),
    Mistake(("commonLabels", "app.kubernetes.io/instance=x"), {"commonLabels": {"app.kubernetes.io/instance": "x"}}),
    Mistake(
        ("serviceAccount.create=false", 'serviceAccount.name="models"', 'serviceAccount.headName=""'),
        {"serviceAccount": {"create": False, "name": "models"}},
    ),
    Mistake(
        ("serviceAccount.annotations has a", "serviceAccount.create=false", "Annotate the account models"),
        {"serviceAccount": {"create": False, "name": "models", "headName": "head", "annotations": {"a": "b"}}},
    ),
    Mistake(("serviceAccount.name=one", "headName"), {"serviceAccount": {"name": "one", "headName": "one"}}),
    Mistake(("extraVolumes", "name cache is taken"), {"extraVolumes": [{"name": "cache", "emptyDir": {}}]}),
    Mistake(("extraVolumeMounts", "ca is mounted at /ca"), {"extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}]}),
    Mistake(
        ("ray.extraEnv has RAY_SERVE_ENABLE_HA_PROXY", "to be 1"),
        {"ray": {"extraEnv": [{"name": "RAY_SERVE_ENABLE_HA_PROXY", "value": "0"}]}},
    ),
    Mistake(
        ("ray.extraEnv has A", "ray.environment"),
        {"ray": {"environment": {"A": "1"}, "extraEnv": [{"name": "A", "value": "2"}]}},
    ),
    Mistake(("service.type=LoadBalancer", "networkPolicy.clients"), {"service": {"type": "LoadBalancer"}}),
    Mistake(("service.type=ClusterIP", "loadBalancerClass"), {"service": {"loadBalancerClass": "internal"}}),
    Mistake(("edge.ingress.host",), {"edge": {"ingress": {"enabled": True}}}),
    Mistake(("edge.ingress.tlsSecret",), {"edge": {"ingress": {"enabled": True, "host": "a.b"}}}),
    Mistake(
        ("edge.controllerNamespace", "envoy-gateway-system"),
        {"edge": {"ingress": {"enabled": True, "host": "a.b", "tlsSecret": "tls"}}},
    ),
    Mistake(("edge.gatewayApi.parentRefs", "gateway.create=true"), {"edge": {"gatewayApi": {"enabled": True}}}),
    Mistake(
        ("edge.gatewayApi.gateway", 'className="eg"', 'tlsSecret=""', "clusterIssuer"),
        {"edge": {"gatewayApi": {"enabled": True, "gateway": {"create": True, "className": "eg"}}}},
    ),
    Mistake(
        ("edge.gatewayApi", "httpHostnames=[a.b]", "grpcHostnames=[a.b]"),
        {
            "edge": {
                "gatewayApi": {
                    "enabled": True,
                    "parentRefs": [{"name": "edge"}],
                    "httpHostnames": ["a.b"],
                    "grpcHostnames": ["a.b"],
                }
            }
        },
    ),
    Mistake(("edge.certificate", "issuerRef.name"), {"edge": {"certificate": {"enabled": True}}}),
    Mistake(("edge.envoy.tlsSecret",), {"edge": {"envoy": {"enabled": True}}}),
    Mistake(("monitoring.prometheusRule.runbookUrl",), {"monitoring": {"prometheusRule": {"enabled": True}}}),
]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("mistake", SCHEMA, ids=lambda mistake: ".".join(mistake.names))
def test_the_schema_names_the_key_that_is_wrong(helm: str, mistake: Mistake) -> None:
    message = refusal(helm, mistake)
    assert "schema" in message
    path = message.replace("/", ".")  # Helm 4 writes JSON pointers
    for name in mistake.names:
        assert name in path


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("mistake", TEMPLATES, ids=lambda mistake: mistake.names[0])
def test_the_templates_name_key_value_and_remedy(helm: str, mistake: Mistake) -> None:
    assert_named(mistake, refusal(helm, mistake))


@pytest.mark.parametrize("helm", HELMS)
def test_values_without_a_profile_are_refused_and_the_profiles_named(helm: str) -> None:
    result = template(helm, Case("none", (), KEYS), check=False)
    assert result.returncode and "serving.models is empty" in result.stderr
    for profile in ("values-demo.yaml", "values-gpu.yaml", "values-tpu-v5e.yaml"):
        assert profile in result.stderr


@pytest.mark.parametrize(
    ("release", "reason"), [("a" * 40, "47"), ("1st", "starts with a letter")], ids=["too-long", "a-digit-first"]
)
def test_release_names_that_kuberay_refuses_are_refused(release: str, reason: str) -> None:
    from tests.helm.chart import CHART, run, values

    result = run("helm4", "template", release, CHART, *values(CASE["demo"]), case=CASE["demo"], check=False)
    assert result.returncode and reason in result.stderr


def test_the_slices_of_the_schema_are_those_of_the_service() -> None:
    from helm.derived import schema

    offered = schema()["properties"]["workers"]["items"]["properties"]["topology"]["enum"]
    for topology in offered:
        rows, columns = map(int, topology.split("x"))
        chips = rows * columns
        hosts = max(1, chips // 4)
        shape = Topology(accelerator="tpu-v5litepod", chips_per_host=chips // hosts, hosts=hosts).slice_shape
        assert shape == topology


def test_every_value_of_the_mistakes_is_right_without_its_mistake() -> None:
    good = Case("good", ("gpu",), merged(KEYS, CLAIM, _model(), _worker()))
    assert template("helm4", good).returncode == 0
    alone = Case("alone", ("gpu",), merged(KEYS, CLAIM, _environment("RAY_gcs_rpc_server_reconnect_timeout_s")))
    assert template("helm4", alone).returncode == 0  # without Redis it is not the chart's
    elsewhere = _model(adapters={"directory": "/adapters-elsewhere"})
    assert template("helm4", Case("elsewhere", ("gpu",), merged(KEYS, CLAIM, elsewhere))).returncode == 0
