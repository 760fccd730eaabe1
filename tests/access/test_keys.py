"""The key file: what it keeps, whom it knows, and what it says of a broken one."""

import os
from pathlib import Path

import pytest

from serving.access.keys import KeyFile, KeyFileError
from serving.config import Role


def with_keys(*names: str) -> tuple[KeyFile, list[str]]:
    file, keys = KeyFile(), []
    for name in names:
        file, key = file.with_new(name, f"tenant of {name}", (Role.FIM,))
        keys.append(key)
    return file, keys


def test_each_key_is_found_as_its_own() -> None:
    file, keys = with_keys("a", "b", "c")
    found = [file.find(key) for key in keys]
    assert [(entry.name, entry.tenant) for entry in found if entry] == [(name, f"tenant of {name}") for name in "abc"]


def test_what_is_no_key_is_not_found() -> None:
    file, [key] = with_keys("a")
    strange = ["", "cg", "cg_", key[:-1], key + "x", key.upper(), key.replace("cg_", "xx_"), f" {key}", "cg_00000000_x"]
    assert [file.find(text) for text in strange] == [None] * len(strange)


def test_a_key_of_another_file_with_the_same_id_is_not_found() -> None:
    file, [key] = with_keys("a")
    prefix, key_id, secret = key.split("_", 2)
    other = secret[::-1]
    assert other != secret
    assert file.find(f"{prefix}_{key_id}_{other}") is None


def test_the_file_holds_no_part_of_the_secret_and_salts_differ(tmp_path: Path) -> None:
    file, keys = with_keys("a", "b")
    file.write(tmp_path / "keys.yaml")
    text = (tmp_path / "keys.yaml").read_text()
    secrets = [key.split("_", 2)[2] for key in keys]
    assert not any(secret[start : start + 6] in text for secret in secrets for start in range(len(secret) - 5))
    assert len({key.salt for key in file.keys}) == 2


def test_a_file_is_read_as_it_was_written_and_only_its_owner_may(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    file, _ = with_keys("a", "b")
    file.write(path)
    assert KeyFile.read(path) == file
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_replaced_is_still_its_owners_and_open_to_the_same(tmp_path: Path) -> None:
    """A service under another user goes on reading it when root changes it."""
    path = tmp_path / "keys.yaml"
    file, _ = with_keys("a")
    file.write(path)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before = path.stat()
    KeyFile().write(path)
    after = path.stat()
    assert KeyFile.read(path).keys == ()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_file_whose_owner_cannot_be_kept_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "keys.yaml"
    file, _ = with_keys("a")
    file.write(path)
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(KeyFileError, match=rf"{path}.*owner.*as root"):
        KeyFile().write(path)
    assert KeyFile.read(path) == file
    assert list(tmp_path.iterdir()) == [path]


def test_behind_a_link_the_file_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    path, link = tmp_path / "keys.yaml", tmp_path / "etc" / "keys.yaml"
    KeyFile().write(path)
    link.symlink_to(path)
    file, _ = with_keys("a")
    file.write(link)
    assert link.is_symlink()
    assert KeyFile.read(path) == file


def test_a_key_that_was_taken_out_is_not_found_and_the_others_are() -> None:
    file, keys = with_keys("a", "b")
    left = file.without(file.keys[0].id)
    assert left.find(keys[0]) is None
    other = left.find(keys[1])
    assert other is not None and other.name == "b"
    with pytest.raises(KeyError):
        left.without(file.keys[0].id)


def test_an_empty_file_has_no_keys(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("")
    assert KeyFile.read(tmp_path / "keys.yaml").keys == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys: [{id: 1}]", "keys.0"),
        ("keys: 7", "keys"),
        ("[1, 2]", "keys"),
        ("keys: [", "not valid YAML"),
        ("key: []", "key:"),
        ("keys: [{created: 2026-13-32}]", "not valid YAML"),
        ("keys: !!timestamp yesterday", "not valid YAML"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(KeyFileError, match=str(path)) as raised:
        KeyFile.read(path)
    assert said in str(raised.value)


def test_the_same_id_twice_is_refused() -> None:
    file, _ = with_keys("a")
    text = KeyFile.model_construct(keys=file.keys * 2).dump()
    with pytest.raises(KeyFileError, match=f"the id {file.keys[0].id} is there twice"):
        KeyFile.parse(text, "keys.yaml")


def test_the_same_name_twice_is_refused_with_both_ids() -> None:
    file, _ = with_keys("a", "b")
    first, second = file.keys
    text = KeyFile.model_construct(keys=(first, second.model_copy(update={"name": "a"}))).dump()
    with pytest.raises(KeyFileError, match=rf"{first.id} and {second.id} have the same name, 'a'.*Change the name"):
        KeyFile.parse(text, "keys.yaml")


def test_a_new_key_needs_a_name_of_its_own() -> None:
    file, _ = with_keys("a")
    with pytest.raises(KeyFileError, match=f"the key {file.keys[0].id} has the name 'a' already"):
        file.with_new("a", "", (Role.FIM,))


def test_an_error_does_not_show_what_the_file_holds(tmp_path: Path) -> None:
    file, _ = with_keys("a")
    broken = file.dump().replace("salt: ", "salt: x")
    with pytest.raises(KeyFileError) as raised:
        KeyFile.parse(broken, "keys.yaml")
    assert file.keys[0].salt not in str(raised.value)


def test_a_file_that_is_missing_or_no_text_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("none", "binary"):
        with pytest.raises(KeyFileError, match="codegemma keys create"):
            KeyFile.read(tmp_path / name)
