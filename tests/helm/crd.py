"""Custom resources against the schemas of their definitions, closed so that a misspelt field is an error."""

import functools
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.helm.chart import ROOT, Object

_DEFINITIONS = ROOT.parent / "shared" / "data" / "crds"


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
