"""partial_directory: complete or not at all, and one process at a time."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.checkpoints.partial_directory import partial_directory, partial_file


def test_it_becomes_the_target(tmp_path: Path) -> None:
    with partial_directory(tmp_path / "target") as partial:
        (partial / "file").write_text("x")
        assert not (tmp_path / "target").exists()
    assert (tmp_path / "target" / "file").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_error_removes_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), partial_directory(tmp_path / "target") as partial:
        (partial / "file").write_text("x")
        raise OSError("full")
    assert list(tmp_path.iterdir()) == []


def test_what_an_interrupted_one_left_the_next_one_finds(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), partial_directory(tmp_path / "target") as partial:
        (partial / "file").write_text("x")
        raise KeyboardInterrupt
    assert not (tmp_path / "target").exists()
    with partial_directory(tmp_path / "target") as partial:
        assert (partial / "file").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_file_appears_whole(tmp_path: Path) -> None:
    with partial_file(tmp_path / "target.bin") as partial:
        partial.write_text("x")
        assert not (tmp_path / "target.bin").exists()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["x"]


def test_the_empty_directory_that_one_is_in_can_be_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with partial_directory(Path()) as partial:
        (partial / "file").write_text("x")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["here", "here/file"]


def test_one_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".target.partial").symlink_to(tmp_path / "none")
    with (
        pytest.raises(ValueError, match=r"\.target\.partial is not a directory"),
        partial_directory(tmp_path / "target"),
    ):
        pass


def test_no_file_is_made_where_a_link_in_it_leads(tmp_path: Path) -> None:
    (tmp_path / ".target.partial").mkdir()
    (tmp_path / ".target.partial" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="lock"), partial_directory(tmp_path / "target"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("planted", [".target.partial", ".target.partial/files"])
def test_nothing_is_taken_or_removed_where_a_link_leads(tmp_path: Path, planted: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "thesis").write_text("x")
    (tmp_path / planted).parent.mkdir(exist_ok=True)
    (tmp_path / planted).symlink_to(tmp_path / "victim")
    with pytest.raises(ValueError, match="is not a directory of this user's"), partial_directory(tmp_path / "target"):
        pass
    assert (tmp_path / "victim" / "thesis").read_text() == "x"
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's directory")
def test_another_users_directory_is_not_taken(tmp_path: Path) -> None:
    files = tmp_path / ".target.partial" / "files"
    files.mkdir(parents=True)
    os.chown(files, 12345, 12345)
    with pytest.raises(ValueError, match="is not a directory of this user's"), partial_directory(tmp_path / "target"):
        pass


def test_many_at_once_have_it_one_after_the_other(tmp_path: Path) -> None:
    rounds, target = 200, tmp_path / "target"
    start = threading.Barrier(4)

    def take(writer: int) -> int:
        start.wait()
        taken = 0
        for number in range(rounds):
            try:
                with partial_directory(target) as partial:
                    (partial / "file").write_text(f"{writer} {number}")
                    assert [path.name for path in partial.iterdir()] == ["file"]
                    assert (partial / "file").read_text() == f"{writer} {number}"
                    partial.rename(tmp_path / f"{writer}-{number}")
                    partial.mkdir()
                taken += 1
            except ValueError as error:
                assert "is writing" in str(error)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = sum(pool.map(take, range(4)))
    target.rmdir()
    assert taken == len(os.listdir(tmp_path)) > 0
