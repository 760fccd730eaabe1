"""Writes what of the chart is derived.

From the service: the schema of its values and Ray's environment. From its own values: their reference,
and those of each profile for chart-testing.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from helm import ci
from helm.reference import reference
from serving.config import GatewayConfig, ServingConfig
from serving.servers.ray_environment import RAY_ENVIRONMENT, WITHOUT_HEAD, gateway_environment, haproxy_files

_HERE = Path(__file__).parent
_CHART = _HERE / "codegemma-serving"
_FROM_AUTH = ("keys_file", "anyone")
"""Settings of the Gateway that the chart derives from its own `auth`."""
_HAPROXY = {
    "RAY_SERVE_HAPROXY_BINARY_PATH": "/opt/codegemma/bin/codegemma-haproxy",
    **haproxy_files(Path("/tmp/codegemma")),
}
"""Where the image has it, not this machine; a pod has a /tmp of its own."""


def schema() -> dict[str, Any]:
    """The schema of the chart's values: helm/schema.yaml, with `serving` from ServingConfig."""
    result: dict[str, Any] = yaml.safe_load((_HERE / "schema.yaml").read_text())
    serving = ServingConfig.model_json_schema()
    definitions = serving.pop("$defs")
    for name in _FROM_AUTH:
        del definitions["GatewayConfig"]["properties"][name]
    serving["required"].remove("models")  # the templates ask for it, and name the profiles
    if not serving["required"]:
        del serving["required"]
    result["properties"]["serving"] = serving
    result["$defs"] |= definitions
    return result


def environment() -> dict[str, str]:
    """What every process of the cluster must have in its environment."""
    return RAY_ENVIRONMENT | _HAPROXY


def build() -> dict[Path, str]:
    """The text of every file."""
    gateways = gateway_environment(GatewayConfig())
    known = schema()
    return ci.files(_CHART) | {
        _CHART / "VALUES.md": reference((_CHART / "values.yaml").read_text(), known),
        _CHART / "values.schema.json": json.dumps(known, indent=2) + "\n",
        _CHART / "files" / "environment.json": json.dumps(environment(), indent=2) + "\n",
        _CHART / "files" / "gateway-environment.json": json.dumps(gateways, indent=2) + "\n",
        _CHART / "files" / "without-head-environment.json": json.dumps(WITHOUT_HEAD, indent=2) + "\n",
    }


def drift() -> list[str]:
    """Files that are not what they would be now, or would not be made any more."""
    made = build()
    differing = [file.name for file, text in made.items() if not file.exists() or file.read_text() != text]
    return differing + [file.name for file in (_CHART / "ci").glob("*") if file not in made]


def main() -> int:
    """Writes the files, or says whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    if not parser.parse_args().check:
        for file, text in build().items():
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return 0
    if differing := drift():
        print(f"{', '.join(differing)}: out of date. Run `make chart-schema`.", file=sys.stderr)
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
