"""Adapters that the values list: what the Job is told, and what it makes of a claim."""

import importlib.util
import json
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.models.adapter_directory import AdapterDirectory
from tests.helm.chart import CASE, CHART, HELMS, Case, merged, of_kind, rendered, template
from tests.helm.mistake import Mistake, assert_named, refusal

_MODEL = {"id": "model", "checkpoint": "/models/model", "roles": ["fim"], "topology": {"accelerator": "gpu"}}


def _listed(*served: dict[str, str], claim: str = "codegemma-adapters", **model: Any) -> dict[str, Any]:
    directory = {"adapters": {"directory": "/adapters/model"}}
    return {
        "models": {"adapters": {"existingClaim": claim, "served": list(served)}},
        "serving": {"models": [merged(_MODEL, directory, model)]},
    }


def _entry(**fields: str) -> dict[str, str]:
    return {"model": "model", "name": "team-a", "source": "versions/team-a-2", **fields}


MISTAKES = [
    Mistake(
        ("models.adapters.served has 1 entries", "models.adapters.existingClaim is empty"),
        merged(_listed(_entry(), claim=""), {"serving": {"models": [_MODEL]}}),
    ),
    Mistake(("models.adapters.served: team-a is for model other",), _listed(_entry(model="other"))),
    Mistake(
        ("team-a is for model model", "adapters.directory below /adapters"),
        _listed(_entry(), adapters={"directory": "/models/adapters"}),
    ),
    Mistake(("team-a is in /adapters/model twice",), _listed(_entry(), _entry(source="versions/team-a-1"))),
    *(
        Mistake((f"source={source}", "not in /adapters/model"), _listed(_entry(source=source)))
        for source in ("../models/a", "versions/../../a", ".", "model", "model/team-b")
    ),
]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.names[0])
def test_what_cannot_be_meant_is_refused(helm: str, mistake: Mistake) -> None:
    assert_named(mistake, refusal(helm, mistake))


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("fields", [{"name": "a:b"}, {"name": ".hidden"}, {"source": "/models/a"}])
def test_the_schema_names_the_entry_that_is_wrong(helm: str, fields: dict[str, str]) -> None:
    [key] = fields
    message = refusal(helm, Mistake((), _listed(_entry(**fields))))
    assert f"models.adapters.served.0.{key}" in message.replace("/", ".")


def _job() -> dict[str, Any]:
    [job] = of_kind(rendered(CASE["adapters-served"]), "Job").values()
    return job


def test_a_job_links_them_on_the_claim_before_the_release_is_installed_changed_or_taken_back() -> None:
    assert _job()["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade,pre-rollback"
    spec = _job()["spec"]["template"]["spec"]
    assert {"name": "adapters", "persistentVolumeClaim": {"claimName": "codegemma-adapters"}} in spec["volumes"]
    [container] = spec["containers"]
    [python, option, program, wanted] = container["command"]
    assert [python, option] == ["python", "-c"]
    assert program == (CHART / "files" / "link_adapters.py").read_text()
    assert json.loads(wanted) == {"model": {"team-a": "versions/team-a-2", "team-b": "versions/b.nemo"}}


def test_without_a_list_there_is_no_job_and_directories_stay_as_they_are() -> None:
    assert not of_kind(rendered(CASE["adapters"]), "Job")


def test_pods_are_the_same_whatever_the_list_has() -> None:
    def pods(*served: dict[str, str]) -> object:
        base = CASE["adapters-served"]
        case = Case("served", base.profiles, merged(base.values, {"models": {"adapters": {"served": list(served)}}}))
        objects = [each for each in yaml.safe_load_all(template("helm4", case).stdout) if each]
        return of_kind(objects, "RayService")["codegemma"]

    assert pods() == pods(_entry()) == of_kind(rendered(CASE["adapters-served"]), "RayService")["codegemma"]


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("link_adapters", CHART / "files" / "link_adapters.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _adapter(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text('{"peft_type": "LORA"}')


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """A claim with two versions of one adapter."""
    for version in ("a-1", "a-2"):
        _adapter(tmp_path / "claim" / "versions" / version)
    return tmp_path / "claim"


def test_the_service_sees_the_listed_adapters_and_their_changes(program: ModuleType, claim: Path) -> None:
    program.link(claim, {"model": {}})  # the directory is there from the beginning on
    directory = AdapterDirectory(claim / "model")
    assert not directory.names
    program.link(claim, {"model": {"team-a": "versions/a-1"}})
    directory.scan()
    assert directory.names == ("team-a",) and directory.path("team-a").name == "a-1"
    before = directory.stamp("team-a")
    program.link(claim, {"model": {"team-a": "versions/a-2"}})
    directory.scan()
    assert directory.path("team-a").name == "a-2" and directory.stamp("team-a") != before
    program.link(claim, {"model": {}})
    directory.scan()
    assert not directory.names


def test_links_hold_where_the_claim_is_mounted_elsewhere(program: ModuleType, claim: Path) -> None:
    program.link(claim, {"teams/model": {"team-a": "versions/a-1"}})
    moved = claim.rename(claim.parent / "elsewhere")
    assert (moved / "teams" / "model" / "team-a" / "adapter_config.json").exists()


def test_a_nemo_file_keeps_its_suffix(program: ModuleType, claim: Path) -> None:
    (claim / "versions" / "b.nemo").touch()
    program.link(claim, {"model": {"team-b": "versions/b.nemo"}})
    assert [path.name for path in (claim / "model").iterdir()] == ["team-b.nemo"]


def test_what_people_put_there_stays_and_is_never_replaced(program: ModuleType, claim: Path) -> None:
    _adapter(claim / "model" / "own")
    program.link(claim, {"model": {"team-a": "versions/a-1"}})
    assert {path.name for path in (claim / "model").iterdir()} == {"own", "team-a"}
    with pytest.raises(SystemExit, match="own is there and no link"):
        program.link(claim, {"model": {"own": "versions/a-1"}})


def test_nothing_changes_if_a_source_is_missing(program: ModuleType, claim: Path) -> None:
    program.link(claim, {"model": {"team-a": "versions/a-1"}})
    with pytest.raises(SystemExit, match="versions/a-3 is not on the claim"):
        program.link(claim, {"model": {"team-a": "versions/a-2", "team-b": "versions/a-3"}})
    assert (claim / "model" / "team-a").resolve().name == "a-1"
    assert [path.name for path in (claim / "model").iterdir()] == ["team-a"]


def test_a_claim_that_cannot_be_written_is_named_in_one_line(program: ModuleType, claim: Path) -> None:
    (claim / "model").touch()  # where the directory should be
    with pytest.raises(SystemExit, match=r"served: .*claim/model.* must be one that user \d+ can write"):
        program.main(claim, json.dumps({"model": {}}))


_WANTED = st.dictionaries(
    st.sampled_from(["model", "teams/other"]),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["versions/a-1", "versions/a-2"])),
)


@given(st.lists(_WANTED, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_whatever_was_linked_before_the_last_list_holds(program: ModuleType, lists: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        claim = Path(folder)
        for version in ("a-1", "a-2"):
            _adapter(claim / "versions" / version)
        for wanted in lists:
            program.link(claim, wanted)
        for directory, adapters in lists[-1].items():
            found = {path.name: f"versions/{path.resolve().name}" for path in (claim / directory).iterdir()}
            assert found == adapters
        assert not (claim / ".codegemma-link").is_symlink()
