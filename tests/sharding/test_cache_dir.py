"""Where files that can be made again are kept."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharding.cache_dir import CacheError, cache_dir


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_a_directory_is_made_for_this_user_alone_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    directory = cache_dir("things")
    assert directory == tmp_path / "cache" / "codegemma" / "things"
    assert {path.stat().st_mode & 0o777 for path in (directory, directory.parent)} == {0o700}
    assert cache_dir("things") == directory


def test_a_directory_that_was_open_to_others_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = tmp_path / "codegemma" / "things"
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    assert cache_dir("things").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", ["codegemma", "codegemma/things"])
def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "codegemma" / "things").mkdir(parents=True)
    os.chown(tmp_path / name, 4321, -1)
    with pytest.raises(ValueError, match=rf"{tmp_path / name} belongs to user 4321"):
        cache_dir("things")


@pytest.mark.parametrize("home", ["/proc/none", "file"])
def test_a_place_that_cannot_be_written_is_named_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
    with pytest.raises(CacheError, match=r"^The cache .*/codegemma/things cannot be written: .* Set XDG_CACHE_HOME to"):
        cache_dir("things")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)  # of whom no list of users knows
    with pytest.raises(ValueError, match=r"User 4000000 has no home directory for a cache. Set XDG_CACHE_HOME"):
        cache_dir("things")
