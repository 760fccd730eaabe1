"""GGUF checkpoints in several files, and in a directory; where a file ends."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint
from sharding.checkpoint.gguf.header import read_gguf_header
from tests.sharding.checkpoint.files import WIDE, expected_parameters, gguf_tensors, plain, wide_tensors, write_gguf
from tests.sharding.checkpoint.gguf_sets import PARTS, write_part
from tests.sharding.checkpoint.gguf_sets import write_set as write_set_of


def write_set(directory: Path, name: str = "gemma", **keys: int) -> list[Path]:
    return write_set_of(directory, WIDE, wide_tensors(), name, **keys)


def assert_whole(path: Path) -> None:
    checkpoint = open_checkpoint(path)
    stored = {name: (value + 1) - 1 if value.ndim == 1 else value for name, value in wide_tensors().items()}
    expected: dict[str, Any] = expected_parameters(WIDE, stored)
    assert checkpoint.tensors.keys() == expected.keys()
    for name, source in checkpoint.tensors.items():
        np.testing.assert_array_equal(plain(source).read(()), expected[name])


@pytest.mark.parametrize("named", range(PARTS))
def test_a_set_is_read_whichever_of_its_files_is_named(tmp_path: Path, named: int) -> None:
    assert_whole(write_set(tmp_path)[named])


def test_a_directory_with_a_set_is_read(tmp_path: Path) -> None:
    write_set(tmp_path)
    assert_whole(tmp_path)


def test_a_directory_with_one_file_is_read(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", WIDE, gguf_tensors(WIDE, wide_tensors()))
    (tmp_path / "config.json").write_text("{}")
    assert_whole(tmp_path)


def test_a_directory_with_several_models_asks_for_one(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_set(tmp_path, "other")
    with pytest.raises(CheckpointError, match=rf"{tmp_path}: has several GGUF files \(gemma, other\)\. Name one"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("absent", range(PARTS))
def test_a_missing_file_of_a_set_is_named(tmp_path: Path, absent: int) -> None:
    files = write_set(tmp_path)
    files[absent].unlink()
    for path in (files[absent - 1], tmp_path):
        with pytest.raises(CheckpointError, match=rf"gemma-0000{absent + 1}-of-00003\.gguf: is missing, or no GGUF"):
            open_checkpoint(path)


def test_files_of_a_set_with_other_names_are_refused(tmp_path: Path) -> None:
    file = write_set(tmp_path)[0].rename(tmp_path / "first.gguf")
    with pytest.raises(CheckpointError, match=r"first\.gguf: is one of 3 files .* NAME-00001-of-00003\.gguf"):
        open_checkpoint(file)


def test_files_in_the_wrong_place_of_a_set_are_refused(tmp_path: Path) -> None:
    first, second, third = write_set(tmp_path)
    third.write_bytes(second.read_bytes())
    with pytest.raises(CheckpointError, match=rf"{third}: split\.no=1 and split\.count=3, but its name says file 2"):
        open_checkpoint(first)


def test_a_tensor_that_no_file_of_a_set_has_is_missed(tmp_path: Path) -> None:
    files = write_set(tmp_path, tensors_count=100)
    with pytest.raises(CheckpointError, match=r"split\.tensors\.count=100, but its 3 files have \d+ tensors"):
        open_checkpoint(files[0])


def test_a_tensor_in_two_files_of_a_set_is_refused(tmp_path: Path) -> None:
    files = write_set(tmp_path)
    twice = {"output_norm.weight": np.ones(256, np.float32), "token_embd.weight": np.ones((96, 256), np.float32)}
    write_part(files[2], 2, twice, {"no": 2, "count": PARTS, "tensors_count": 20})
    with pytest.raises(CheckpointError, match=rf"{files[2]}: tensor \S+ is in \S+ too"):
        open_checkpoint(files[0])


def test_a_count_that_is_none_is_refused(tmp_path: Path) -> None:
    files = write_set(tmp_path, count=0)
    with pytest.raises(CheckpointError, match=r"split\.count=0 is no integer from 1 to 99999"):
        open_checkpoint(files[0])


@pytest.mark.parametrize("padding", [0, 4, 20])
def test_the_last_tensor_is_padded_up_to_the_alignment_or_less(tmp_path: Path, padding: int) -> None:
    file = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(file, "gemma")
    writer.add_tensor("w", np.ones(3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert file.stat().st_size % 32 == 0
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 20 + padding)
    assert read_gguf_header(file).tensors["w"].shape == (1, 3)
