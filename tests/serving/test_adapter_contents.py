"""The hash of an adapter's contents is that of its names and contents, and of nothing else."""

import shutil
from pathlib import Path

import pytest

from serving.adapter_contents import contents_hash


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    directory = tmp_path / "adapter"
    (directory / "weights").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "weights" / "part").write_bytes(b"numbers")
    return directory


def test_a_copy_in_another_place_has_the_same_and_so_has_a_link(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "elsewhere" / "other-name")
    (tmp_path / "link").symlink_to(adapter)
    assert contents_hash(tmp_path / "elsewhere" / "other-name") == contents_hash(adapter)
    assert contents_hash(tmp_path / "link") == contents_hash(adapter)


def test_another_content_name_or_place_of_a_file_is_another(adapter: Path) -> None:
    hashes = [contents_hash(adapter)]
    (adapter / "weights" / "part").write_bytes(b"Numbers")
    hashes.append(contents_hash(adapter))
    (adapter / "weights" / "part").rename(adapter / "weights" / "part2")
    hashes.append(contents_hash(adapter))
    (adapter / "weights" / "part2").rename(adapter / "part2")
    hashes.append(contents_hash(adapter))
    assert len(set(hashes)) == 4


def test_a_file_has_one_too_and_what_is_not_there_none(adapter: Path, tmp_path: Path) -> None:
    assert contents_hash(adapter / "config.json") != contents_hash(adapter / "weights" / "part")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nothing", tmp_path / "empty"):
        with pytest.raises(FileNotFoundError):
            contents_hash(path)
