"""What names the contents of an adapter is the same wherever it lies."""

import shutil
from pathlib import Path

import pytest

from sharding.adapters.adapter import AdapterError
from sharding.adapters.forms import adapter_version


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    directory = tmp_path / "adapter"
    (directory / "context").mkdir(parents=True)
    (directory / "weights").mkdir()
    (directory / "context" / "model.yaml").write_text("{}")
    (directory / "weights" / "part").write_bytes(b"numbers")
    return directory


def test_a_copy_in_another_place_has_the_same_and_so_has_a_link(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "elsewhere" / "other-name")
    (tmp_path / "link").symlink_to(adapter)
    assert adapter_version(tmp_path / "elsewhere" / "other-name") == adapter_version(adapter)
    assert adapter_version(tmp_path / "link") == adapter_version(adapter)


def test_another_content_name_or_place_of_a_file_is_another(adapter: Path) -> None:
    versions = [adapter_version(adapter)]
    (adapter / "weights" / "part").write_bytes(b"Numbers")
    versions.append(adapter_version(adapter))
    (adapter / "weights" / "part").rename(adapter / "weights" / "part2")
    versions.append(adapter_version(adapter))
    (adapter / "weights" / "part2").rename(adapter / "part2")
    versions.append(adapter_version(adapter))
    assert len(set(versions)) == 4


def test_a_file_beside_those_of_peft_is_not_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"numbers")
    version = adapter_version(tmp_path)
    (tmp_path / "README.md").write_text("what it is")
    assert adapter_version(tmp_path) == version


def test_what_is_not_there_has_none(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no such file"):
        adapter_version(tmp_path / "nothing")
