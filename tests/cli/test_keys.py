"""`codegemma keys`, output not on a terminal."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serving.access.keys import KeyFile
from serving.cli.key_store import key_store
from serving.cli.main import app
from serving.config import Role


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def run(path: Path, *args: str) -> Result:
    command, *rest = args
    return CliRunner().invoke(app, ["keys", command, *rest, "--file", str(path)], catch_exceptions=False)


def test_create_prints_the_key_alone_and_the_file_knows_it(path: Path) -> None:
    result = run(path, "create", "ci", "--tenant", "platform", "--role", "fim")
    entry = KeyFile.read(path).find(result.stdout.removesuffix("\n"))
    assert result.exit_code == 0
    assert entry is not None
    assert (entry.name, entry.tenant, entry.roles) == ("ci", "platform", (Role.FIM,))


def test_create_adds_to_what_there_is_and_by_default_for_every_role(path: Path) -> None:
    keys = [run(path, "create", name).stdout.strip() for name in ("a", "b")]
    found = [KeyFile.read(path).find(key) for key in keys]
    assert [(entry.name, entry.tenant, entry.roles) for entry in found if entry] == [
        ("a", "", tuple(Role)),
        ("b", "", tuple(Role)),
    ]


def test_create_names_the_adapters_that_a_key_may_use(path: Path) -> None:
    for name, *options in (("all",), ("none", "--adapters", "none"), ("two", "--adapters", "m:a", "--adapters", "m:b")):
        assert run(path, "create", name, *options).exit_code == 0
    assert [entry.adapters for entry in KeyFile.read(path).keys] == [None, (), ("m:a", "m:b")]
    assert path.read_text().count("adapters:") == 2  # older versions read a file whose keys name none
    wrong = run(path, "create", "wrong", "--adapters", "a")
    assert (wrong.exit_code, len(KeyFile.read(path).keys)) == (2, 3)
    assert [each.get("adapters") for each in json.loads(run(path, "list", "--json").stdout)] == [
        None,
        [],
        ["m:a", "m:b"],
    ]
    assert "m:a, m:b" in run(path, "list").stdout


def test_list_shows_everything_but_the_secret(path: Path) -> None:
    key = run(path, "create", "ci", "--tenant", "platform").stdout.strip()
    [entry] = KeyFile.read(path).keys
    shown = run(path, "list").stdout
    listed = json.loads(run(path, "list", "--json").stdout)
    assert all(part in shown for part in (entry.id, "ci", "platform", "fim, chat"))
    assert [(each["id"], each["name"], each["tenant"], each["roles"]) for each in listed] == [
        (entry.id, "ci", "platform", ["fim", "chat"])
    ]
    for text in (shown, json.dumps(listed)):
        assert entry.sha256 not in text
        assert entry.salt not in text
        assert key.split("_", 2)[2] not in text


def test_revoke_takes_one_key(path: Path) -> None:
    keys = [run(path, "create", name).stdout.strip() for name in ("a", "b")]
    assert run(path, "revoke", KeyFile.read(path).keys[0].id).exit_code == 0
    assert [KeyFile.read(path).find(key) is None for key in keys] == [True, False]


def test_revoke_of_an_unknown_id_names_those_there_are(path: Path) -> None:
    run(path, "create", "a")
    result = run(path, "revoke", "00000000")
    assert result.exit_code == 1
    assert KeyFile.read(path).keys[0].id in result.stderr


@pytest.mark.parametrize("command", [["list"], ["revoke", "00000000"]])
def test_a_file_that_is_not_there_is_named_with_the_remedy(path: Path, command: list[str]) -> None:
    result = run(path, *command)
    assert result.exit_code == 1
    assert path.name in result.stderr
    assert "codegemma keys create" in result.stderr.replace("\n", " ")


def test_create_leaves_a_file_alone_that_is_no_key_file(path: Path) -> None:
    path.write_text("models: []\n")
    result = run(path, "create", "a")
    assert result.exit_code == 1
    assert path.read_text() == "models: []\n"


@pytest.mark.parametrize("args", [[""], ["x" * 65], ["a", "--tenant", "x" * 65], ["a", "--role", "admin"]])
def test_what_no_key_can_be_made_of_is_refused(path: Path, args: list[str]) -> None:
    assert run(path, "create", *args).exit_code == 2
    assert not path.exists()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run(tmp_path / "none" / "keys.yaml", "create", "a")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize("name", ["[/ops]", "[red]ops", "ops\\", "[link=http://x]"])
def test_names_and_paths_are_shown_as_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / "[/etc]" / "keys [bold].yaml"
    path.parent.mkdir(parents=True)
    created = run(path, "create", name, "--tenant", "[/team]")
    [entry] = KeyFile.read(path).keys
    assert created.exit_code == 0
    assert repr(name) in created.stderr
    assert "keys [bold].yaml" in created.stderr.replace("\n", "")
    listed = run(path, "list")
    assert listed.exit_code == 0
    assert name in listed.stdout
    assert "[/team]" in listed.stdout
    assert run(path, "revoke", entry.id).exit_code == 0


def test_the_key_is_shown_before_anything_else(path: Path) -> None:
    result = run(path, "create", "a")
    [entry] = KeyFile.read(path).keys
    assert result.output.startswith(f"cg_{entry.id}_")
    assert "a" in result.stderr


@pytest.mark.parametrize("command", ["create", "revoke"])
def test_changes_at_the_same_time_all_count(path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Another command begins when this one has read the file and not yet written it."""
    run(path, "create", "first")
    first = KeyFile.read(path).keys[0].id
    change: Any = {"create": KeyFile.with_new, "revoke": KeyFile.without}[command]

    def begin_another() -> None:
        with key_store(path, None, None, None, to_change=True) as store:
            known = store.read()
            assert known is not None
            other, _ = _WITH_NEW(known, "other", "", (Role.FIM,))
            store.write(other)

    another = threading.Thread(target=begin_another)

    def interrupted(self: KeyFile, *args: object) -> object:
        another.start()
        another.join(0.2)  # it waits for this one; without a lock it would be done by then
        return change(self, *args)

    monkeypatch.setattr(KeyFile, change.__name__, interrupted)
    assert run(path, command, "second" if command == "create" else first).exit_code == 0
    another.join()
    expected = ["first", "second", "other"] if command == "create" else ["other"]
    assert [entry.name for entry in KeyFile.read(path).keys] == expected


def test_no_file_is_left_beside_the_keys(path: Path) -> None:
    run(path, "create", "a")
    assert list(path.parent.iterdir()) == [path]


_WITH_NEW = KeyFile.with_new
