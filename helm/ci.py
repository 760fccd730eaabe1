"""Values of each profile in one file, as chart-testing (`ct lint`, `ct install`) takes them: ci/NAME-values.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from helm.manifests import PROFILES

_NOTICE = "# Made by `make chart-schema` from values-*.yaml.\n"
_EVERY = {"auth": {"existingSecret": "codegemma-keys"}, "image": {"repository": "codegemma-serving"}}
_CHECKPOINTS = {"models": {"volume": {"existingClaim": "codegemma-models"}}}


def files(chart: Path) -> dict[Path, str]:
    """The text of every file."""
    return {chart / "ci" / f"{name}-values.yaml": _NOTICE + _text(chart, name) for name in PROFILES}


def _text(chart: Path, name: str) -> str:
    layers = [yaml.safe_load((chart / f"values-{each}.yaml").read_text()) for each in PROFILES[name]]
    needs = _EVERY if name == "demo" else _merged(_EVERY, _CHECKPOINTS)
    result: dict[str, Any] = {}
    for layer in (*layers, needs):
        result = _merged(result, layer)
    return yaml.safe_dump(result, sort_keys=False, width=120)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings in one, as Helm merges values."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result
