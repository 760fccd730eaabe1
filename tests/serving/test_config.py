"""The configuration: the files we ship are valid, and mistakes are refused with the remedy."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.cli.serve_file import ServeFileError, demo_file, read_serve_file
from serving.config import ModelConfig, Role, ServingConfig

_FILES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
_MODEL = {"id": "m", "checkpoint": "/m", "roles": ["fim"]}


@pytest.mark.parametrize("file", _FILES, ids=lambda path: path.name)
def test_the_files_we_ship_are_valid(file: Path) -> None:
    served = read_serve_file(file)
    assert {role for model in served.config.models for role in model.roles} == {"fim", "chat"}


def test_the_demo_is_one_of_them() -> None:
    assert demo_file() in _FILES


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "at least 1 item"),
        ([_MODEL | {"roles": []}], "roles"),
        ([_MODEL | {"id": "a/b"}], "id"),
        ([_MODEL | {"typo": 1}], "typo"),
        ([_MODEL, _MODEL | {"roles": ["chat"]}], "m names more than one model"),
        (
            [_MODEL | {"adapters": {"directory": "/a"}, "aliases": ["m:fast"]}],
            "the alias 'm:fast' means adapter 'fast' of 'm'",
        ),
        (
            [
                _MODEL | {"adapters": {"directory": "/a"}, "aliases": ["gemma:2b"]},
                _MODEL | {"id": "n", "roles": ["chat"], "aliases": ["gemma:2b:fast"]},
            ],
            "the alias 'gemma:2b:fast' means adapter 'fast' of 'm'",
        ),
        ([_MODEL, _MODEL | {"id": "n"}], "m, n all have the role 'fim'. Say in routing.roles.fim.models how"),
        ([_MODEL | {"limits": {"kv_tokens": 1024, "max_context": 2048}}], "kv_tokens=1024 is less than"),
    ],
)
def test_a_mistake_is_named(models: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServingConfig.model_validate({"models": models})


@pytest.mark.parametrize(
    ("routing", "message"),
    [
        ({"roles": {"fim": {"models": {"x": 1}}}}, "routing.roles.fim.models: 'x' is no model with the role 'fim'"),
        ({"roles": {"chat": {"models": {"m": 1}}}}, "routing.roles.chat.models: 'm' is no model.*Those are: none"),
        ({"roles": {"fim": {"models": {"m": 1}, "fallback": "x"}}}, "routing.roles.fim.fallback: 'x' is no model"),
        ({"tenants": {"acme": {"fim": "x"}}}, "routing.tenants.acme.fim: 'x' is no model"),
        ({"roles": {"fim": {"models": {"m": 0}}}}, "routing.roles.fim.models.m\\s.*greater than 0"),
        ({"roles": {"fim": {"models": {}}}}, "routing.roles.fim.models\\s.*at least 1 item"),
    ],
)
def test_a_route_to_nowhere_is_named(routing: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServingConfig.model_validate({"models": [_MODEL], "routing": routing})


def test_models_share_a_role_where_the_routing_says_how() -> None:
    share = {"roles": {"fim": {"models": {"m": 95, "n": 5}}}}
    config = ServingConfig.model_validate({"models": [_MODEL, _MODEL | {"id": "n"}], "routing": share})
    assert config.routing.roles[Role.FIM].models == {"m": 95, "n": 5}


def test_the_version_of_a_model_is_the_name_of_its_checkpoint_unless_it_says_another() -> None:
    found = [
        ModelConfig.model_validate(_MODEL | fields).version
        for fields in ({"checkpoint": "/models/2b/"}, {"checkpoint": "package:tiny"}, {"version": "v2"})
    ]
    assert found == ["2b", "tiny", "v2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("applications: [", "not valid YAML"),
        ("- 1", "expected a mapping"),
        ("applications: []", "0 entries"),
        ("controller_options: {}\napplications: []", "controller_options.*serve run"),
        ("applications: [{import_path: other}]", "import_path is 'other'"),
        ("applications: [{import_path: 'serving.app:build', args: {models: [{id: m}]}}]", "args.models.0.checkpoint"),
    ],
)
def test_a_file_that_cannot_be_served_says_why(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    with pytest.raises(ServeFileError, match=f"(?s)serve.yaml.*{message}"):
        read_serve_file(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServeFileError, match=r"absent\.yaml"):
        read_serve_file(tmp_path / "absent.yaml")


def test_aliases_may_have_colons_where_they_mean_no_adapter() -> None:
    models = [
        _MODEL | {"adapters": {"directory": "/a"}, "aliases": ["gemma:2b", "m:not a name", "m:"]},
        _MODEL | {"id": "n", "roles": ["chat"], "aliases": ["n:fast"]},
    ]
    assert ServingConfig.model_validate({"models": models}).models[0].aliases[0] == "gemma:2b"
