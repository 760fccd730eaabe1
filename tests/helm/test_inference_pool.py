"""The InferencePool of the Gateways' pods, and the routes to it."""

import jsonschema
import pytest

from tests.helm.chart import CASE, HELMS, Object, of_kind, pods, rendered, selects
from tests.helm.mistake import Mistake, assert_named, refusal

_NUMBER = {"type": "integer", "minimum": 1, "maximum": 65535}
_SPEC = {
    "type": "object",
    "additionalProperties": False,
    "required": ["selector", "targetPorts", "endpointPickerRef"],
    "properties": {
        "selector": {
            "type": "object",
            "additionalProperties": False,
            "required": ["matchLabels"],
            "properties": {
                "matchLabels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}}
            },
        },
        "targetPorts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {"type": "object", "additionalProperties": False, "properties": {"number": _NUMBER}},
        },
        "endpointPickerRef": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "port"],
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "port": {"type": "object", "additionalProperties": False, "properties": {"number": _NUMBER}},
                "failureMode": {"enum": ["FailOpen", "FailClose"]},
            },
        },
    },
}
"""What of `inference.networking.k8s.io/v1` the chart uses, in all its releases from 1.0 to 1.6."""

MISTAKES = [
    Mistake(
        ("edge.gatewayApi.inferencePool.endpointPicker.name is empty", "enabled=false"),
        {"edge": {"gatewayApi": {"inferencePool": {"endpointPicker": {"name": ""}}}}},
        base="inference-pool",
    ),
    Mistake(
        ("edge.gatewayApi.inferencePool.enabled=true", "edge.gatewayApi.enabled=false"),
        {"edge": {"gatewayApi": {"enabled": False}}},
        base="inference-pool",
    ),
    Mistake(
        ("edge.gatewayApi.inferencePool.enabled=true and edge.gatewayApi.canary.name=other",),
        {"edge": {"gatewayApi": {"canary": {"name": "other"}}}},
        base="inference-pool",
    ),
]


def _pool() -> Object:
    [pool] = of_kind(rendered(CASE["inference-pool"]), "InferencePool").values()
    return pool


def test_it_has_the_fields_of_version_1() -> None:
    assert _pool()["apiVersion"] == "inference.networking.k8s.io/v1"
    jsonschema.validate(_pool()["spec"], _SPEC)


def test_its_endpoints_are_the_gateways_pods_and_nobody_else() -> None:
    objects = rendered(CASE["inference-pool"])
    selected = {
        name for name, pod, _ in pods(objects) if selects(_pool()["spec"]["selector"], pod["metadata"]["labels"])
    }
    assert selected == {"gateway"}
    [port] = _pool()["spec"]["targetPorts"]
    [gateway] = (pod for name, pod, _ in pods(objects) if name == "gateway")
    assert port["number"] in {each["containerPort"] for each in gateway["spec"]["containers"][0]["ports"]}


def test_a_lost_picker_stops_no_request() -> None:
    picker = _pool()["spec"]["endpointPickerRef"]
    assert picker == {"name": "codegemma-picker", "port": {"number": 9002}, "failureMode": "FailOpen"}


def test_only_what_a_picker_reads_goes_to_it_and_all_else_to_the_service() -> None:
    objects = rendered(CASE["inference-pool"])
    [http] = of_kind(objects, "HTTPRoute").values()
    to_pool, to_service = http["spec"]["rules"]
    paths = {match["path"]["value"] for match in to_pool["matches"]}
    assert paths == {"/v1/completions", "/v1/chat/completions"}
    assert all(match["method"] == "POST" and match["path"]["type"] == "Exact" for match in to_pool["matches"])
    [backend] = to_pool["backendRefs"]
    group = "inference.networking.k8s.io"
    assert backend == {"group": group, "kind": "InferencePool", "name": _pool()["metadata"]["name"]}
    assert "matches" not in to_service and to_service["backendRefs"] == [{"name": "codegemma-http", "port": 8000}]
    assert to_pool["timeouts"] == to_service["timeouts"]
    [grpc] = of_kind(objects, "GRPCRoute").values()
    assert [backend["name"] for rule in grpc["spec"]["rules"] for backend in rule["backendRefs"]] == ["codegemma-grpc"]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.names[0])
def test_what_cannot_be_meant_is_refused(helm: str, mistake: Mistake) -> None:
    assert_named(mistake, refusal(helm, mistake))
