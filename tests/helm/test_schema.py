import re

import yaml

from helm.derived import drift
from tests.helm.chart import CHART

_TABLE_ROW = re.compile(r"^\| (`[A-Za-z0-9.]+`(?:, `[A-Za-z0-9.]+`)*) \|", re.MULTILINE)


def _documented() -> set[str]:
    rows = _TABLE_ROW.findall((CHART / "README.md").read_text())
    return {key.strip("`") for row in rows for key in row.split(", ")}


def test_schema_and_environment_are_those_of_the_service_now() -> None:
    assert drift() == [], "Run `make chart-schema`."


def test_every_key_of_the_values_has_a_row_in_the_readme() -> None:
    documented = _documented()
    known = set(yaml.safe_load((CHART / "values.yaml").read_text()))
    assert {key.partition(".")[0] for key in documented} == known


def test_every_row_of_the_readme_is_a_key_of_the_values() -> None:
    known = yaml.safe_load((CHART / "values.yaml").read_text())
    for key in _documented():
        value = known
        for part in key.split("."):
            assert part in value, key
            value = value[part]
