"""AdapterDirectory: what is there, and what changes when an adapter does."""

import os
from pathlib import Path

import pytest

from serving.adapter_directory import AdapterDirectory, adapter_directory
from serving.config import AdaptersConfig, ModelConfig, Role

MODEL = ModelConfig(id="7b", checkpoint="x", roles=(Role.CHAT,))


def add(directory: Path, name: str, weights: bytes = b"x") -> None:
    (directory / name).mkdir(exist_ok=True)
    (directory / name / "adapter_model.safetensors").write_bytes(weights)
    (directory / name / "adapter_config.json").write_text("{}")


def test_directories_with_a_configuration_are_adapters_and_nothing_else_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b", "a.1", "no colon: here", ".hidden", "x" * 65):
        add(tmp_path, name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    directory = AdapterDirectory(tmp_path)
    directory.scan()
    assert directory.names == ("a.1", "b")
    assert directory.path("b") == tmp_path / "b"
    assert sorted(record.getMessage().split(" is ignored")[0] for record in caplog.records) == sorted(
        str(tmp_path / name) for name in ("no colon: here", ".hidden", "x" * 65)
    )


def test_a_stamp_changes_with_any_file_of_its_adapter_and_is_empty_for_none(tmp_path: Path) -> None:
    add(tmp_path, "a")
    add(tmp_path, "b")
    directory = AdapterDirectory(tmp_path)
    a, b = directory.stamp("a"), directory.stamp("b")
    directory.scan()
    assert (directory.stamp("a"), directory.stamp("b"), directory.stamp("c")) == (a, b, "")
    add(tmp_path, "a", b"longer")
    os.utime(tmp_path / "b" / "adapter_config.json", ns=(1, 1))
    (tmp_path / "c").mkdir()
    directory.scan()
    assert a != directory.stamp("a") != ""
    assert b != directory.stamp("b") != ""
    assert directory.stamp("c") == ""


def test_a_model_without_adapters_has_no_directory_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert adapter_directory(MODEL) is None
    model = MODEL.model_copy(update={"adapters": AdaptersConfig(directory=tmp_path / "none")})
    with pytest.raises(ValueError, match=r"models\.7b\.adapters\.directory=.*none': No such file"):
        adapter_directory(model)
