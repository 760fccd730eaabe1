"""Private files: what somebody else could have written is not read, and says why."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sharding.private_files import UntrustedFileError, private_directory, read_private, write_private


@pytest.fixture(params=[0o000, 0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    private_directory(tmp_path / "private")
    path = tmp_path / "private" / "file"
    write_private(path, b"what ", b"it holds")
    return path


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.usefixtures("umask")
def test_files_and_directories_are_this_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "parent" / "private"
    private_directory(directory)
    write_private(directory / "file", b"x")
    write_private(directory / "first", b"x", replace=False)
    assert (mode(directory), mode(directory / "file"), mode(directory / "first")) == (0o700, 0o600, 0o600)
    assert sorted(path.name for path in directory.iterdir()) == ["file", "first"]


def test_what_was_written_is_read(file: Path) -> None:
    assert read_private(file) == b"what it holds"
    write_private(file, b"another")
    assert read_private(file) == b"another"
    write_private(file, b"a third", replace=False)
    assert read_private(file) == b"another"


def test_a_directory_of_this_user_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    private_directory(tmp_path)
    assert mode(tmp_path) == 0o700


def given_away(path: Path) -> None:
    os.chown(path, 4321, -1)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def parent(fault: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda path: fault(path.parent)


def opened(bits: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(mode(path) | bits)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(given_away, "file belongs to user 4321", marks=as_root),
        (opened(0o020), "file has the mode 0620, by which others may write it"),
        (opened(0o002), "file has the mode 0602, by which others may write it"),
        (linked, "file is a link"),
        (pipe, "file is no regular file"),
        pytest.param(parent(given_away), "private belongs to user 4321", marks=as_root),
        (parent(opened(0o030)), "private has the mode 0730"),
    ],
)
def test_what_another_user_could_have_written_is_not_read(file: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(file)
    with pytest.raises(UntrustedFileError, match=said) as error:
        read_private(file)
    assert str(file.parent) in str(error.value)


@as_root
def test_a_directory_of_another_user_is_not_taken(tmp_path: Path) -> None:
    given_away(tmp_path)
    with pytest.raises(UntrustedFileError, match=r"belongs to user 4321.*Give it to user"):
        private_directory(tmp_path)


def test_a_volume_on_which_everything_is_open_to_all_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    with pytest.raises(UntrustedFileError, match="has the mode 0777"):
        private_directory(tmp_path)
