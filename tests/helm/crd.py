"""Custom resources against the schemas of their definitions, closed so that a misspelt field is an error."""

import copy
import functools
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.helm.chart import ROOT, Object

_DEFINITIONS = ROOT.parent / "shared" / "data" / "crds"
KUBERAY = ("1.5", "1.6", "1.7")
_CLUSTER = "spec.rayClusterConfig"
_SINCE = {
    "1.6": (
        "spec.managedBy",
        f"{_CLUSTER}.upgradeStrategy",
        f"{_CLUSTER}.authOptions.enableK8sTokenAuth",
        f"{_CLUSTER}.authOptions.secretName",
        *(
            f"{_CLUSTER}.{group}.template.spec.volumes.projected.sources.podCertificate.userAnnotations"
            for group in ("headGroupSpec", "workerGroupSpecs")
        ),
    ),
    "1.7": (
        "spec.suspend",
        f"{_CLUSTER}.autoscalerOptions.args",
        f"{_CLUSTER}.autoscalerOptions.command",
        f"{_CLUSTER}.gcsFaultToleranceOptions.backend",
        f"{_CLUSTER}.gcsFaultToleranceOptions.storage",
        f"{_CLUSTER}.headGroupSpec.ingressOptions",
        f"{_CLUSTER}.headGroupSpec.template.spec.schedulingGroup",
        f"{_CLUSTER}.historyServerOptions",
        f"{_CLUSTER}.networkPolicy",
        f"{_CLUSTER}.tlsOptions",
        f"{_CLUSTER}.workerGroupSpecs.priority",
        f"{_CLUSTER}.workerGroupSpecs.template.spec.schedulingGroup",
    ),
}
"""Fields of a RayService that KubeRay's versions brought, by the definitions of v1.5.1, v1.6.2 and v1.7.0.

What else differs: 1.7 no longer requires `redisAddress`, and took `workloadRef` away, which only 1.6 had."""


def definitions() -> Path:
    """Where the definitions are; skips the test without them."""
    if not _DEFINITIONS.is_dir():
        pytest.skip(f"{_DEFINITIONS} is not there: custom resources are not compared with their definitions")
    return _DEFINITIONS


@functools.cache
def schemas() -> dict[tuple[str, str], jsonschema.Draft7Validator]:
    """A validator by API version and kind."""
    found = {}
    for file in definitions().glob("*.yaml"):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
        for version in definition["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            name = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
            found[name] = jsonschema.Draft7Validator(schema)
    return found


def check(each: Object) -> None:
    """Fails with the first field that is wrong."""
    schemas()[each["apiVersion"], each["kind"]].validate(each)


@functools.cache
def ray_service(kuberay: str) -> jsonschema.Draft7Validator:
    """A validator of RayServices as a version of KubeRay defines them: the definition without what came later."""
    schema = copy.deepcopy(schemas()["ray.io/v1", "RayService"].schema)
    for version, fields in _SINCE.items():
        if _number(version) > _number(kuberay):
            for field in fields:
                _remove(schema, field.split("."))
    if _number(kuberay) < _number("1.7"):
        _at(schema, f"{_CLUSTER}.gcsFaultToleranceOptions".split("."))["required"] = ["redisAddress"]
    return jsonschema.Draft7Validator(schema)


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _remove(schema: dict[str, Any], path: list[str]) -> None:
    del _at(schema, path[:-1])["properties"][path[-1]]


def _at(schema: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """The schema of a field; of the items of a list, for lists on the way."""
    for name in path:
        schema = schema["properties"][name]
        schema = schema.get("items", schema)
    return schema


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        result["additionalProperties"] = False
    return result
