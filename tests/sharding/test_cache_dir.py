"""Where files that can be made again are kept."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharding.cache_dir import cache_dir


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
    assert directory.stat().st_mode & 0o777 == 0o700
    assert cache_dir("things") == directory
