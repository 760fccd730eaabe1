import yaml

from helm.derived import drift, schema
from helm.reference import values
from tests.helm.chart import CHART


def test_what_is_derived_is_what_it_would_be_now() -> None:
    assert drift() == [], "Run `make chart-schema`."


def test_the_reference_has_every_value_once_with_its_default() -> None:
    text = (CHART / "values.yaml").read_text()
    listed = list(values(text, schema()))
    assert len({each.key for each in listed}) == len(listed)
    known = yaml.safe_load(text)
    assert {each.key.partition(".")[0] for each in listed} == known.keys()
    for each in listed:
        value = known
        for part in each.key.split("."):
            value = value[part]
        assert yaml.safe_load(each.default) == value, each.key


def test_every_value_or_what_it_is_part_of_has_a_comment() -> None:
    listed = list(values((CHART / "values.yaml").read_text(), schema()))
    documented = {each.key for each in listed if each.comment}
    groups = {key.rpartition(".")[0] for key in documented}
    silent = [each.key for each in listed if each.key not in documented and each.key.rpartition(".")[0] not in groups]
    assert silent == []
