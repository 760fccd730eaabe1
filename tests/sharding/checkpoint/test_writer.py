"""Checkpoints that we write: read again, they are the same model."""

import errno
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.huggingface.config import gemma_config_from_hf, gemma_config_to_hf
from sharding.checkpoint.huggingface.writer import write_huggingface
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from sharding.quantization import Quantization
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import WIDE, WIDE_GEMMA3, plain
from tests.sharding.checkpoint.files import write_huggingface as write_source

GEMMA_3_27B = replace(
    gemma_config_from_hf(CONFIGS["gemma3"]), query_scale=(5376 / 32) ** -0.5, rope_scale=8.0, rope_theta=1e6
)


@pytest.mark.parametrize(
    "config", [CODEGEMMA_2B, CODEGEMMA_7B, GEMMA_3_27B, *(gemma_config_from_hf(each) for each in CONFIGS.values())]
)
def test_a_configuration_comes_back_as_it_was(config: GemmaConfig) -> None:
    written = json.loads(json.dumps(gemma_config_to_hf(config)))
    assert gemma_config_from_hf(written) == config


@pytest.mark.parametrize("quantization", Quantization)
def test_weights_are_served_as_what_they_were_written_for(quantization: Quantization) -> None:
    config = CODEGEMMA_2B.quantised(quantization)
    for each in (config, replace(config, embedding_quantization=None)):
        assert gemma_config_from_hf(json.loads(json.dumps(gemma_config_to_hf(each)))) == each


def test_a_width_is_an_integer_as_transformers_wants_it() -> None:
    written = gemma_config_to_hf(GEMMA_3_27B)["query_pre_attn_scalar"]
    assert (written, type(written)) == (168, int)


@pytest.mark.parametrize("config", [WIDE, WIDE_GEMMA3], ids=["gemma", "gemma3"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("files", [100, 3, None])
def test_every_parameter_comes_back_as_it_was(
    tmp_path: Path, config: dict[str, Any], dtype: npt.DTypeLike, files: int | None
) -> None:
    tensors = random_tensors(config, seed=1)
    source = open_checkpoint(write_source(tmp_path / "source", config, tensors))
    target = tmp_path / "target"
    target.mkdir()
    told: list[tuple[int, int]] = []
    write_huggingface(source, target, dtype, lambda *progress: told.append(progress), files)
    written = open_checkpoint(target)
    assert written.config == source.config
    assert written.tensors.keys() == source.tensors.keys()
    for path, tensor in written.tensors.items():
        np.testing.assert_array_equal(plain(tensor).read((), dtype), plain(source.tensors[path]).read((), dtype))
    numbers = sum(prod(tensor.shape) for tensor in written.tensors.values())
    assert {*told[-1]} == {numbers * np.dtype(dtype).itemsize}


def test_files_are_about_as_large_as_each_other(tmp_path: Path) -> None:
    source = open_checkpoint(write_source(tmp_path / "source", WIDE, random_tensors(WIDE, seed=1)))
    target = tmp_path / "target"
    target.mkdir()
    write_huggingface(source, target, np.float32, files=4)
    files = sorted(target.glob("*.safetensors"))
    assert len(files) == 4
    total = sum(file.stat().st_size for file in files)
    for number, file in enumerate(files, start=1):
        assert file.name == f"model-{number:05}-of-{len(files):05}.safetensors"
        largest = max(tensor.nbytes for tensor in load_file(file).values())
        assert abs(file.stat().st_size - total / 4) <= largest


def test_the_weights_are_as_readable_as_the_umask_has_it(tmp_path: Path) -> None:
    source = open_checkpoint(write_source(tmp_path / "source", WIDE, random_tensors(WIDE, seed=1)))
    target = tmp_path / "target"
    target.mkdir()
    before = os.umask(0o022)
    try:
        write_huggingface(source, target, np.float32, files=4)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in target.iterdir()} == {0o644}


_WRITE_LITTLE = """
import resource, sys
from math import prod
from pathlib import Path
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.huggingface.writer import write_huggingface

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_huggingface(open_checkpoint(Path(sys.argv[1])), Path(sys.argv[2]), "float32")
except OSError as error:
    print(error.errno, error.filename, error.strerror, sep="\\n")
"""


def test_weights_that_find_no_room_are_an_error_of_the_system_with_their_path(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", WIDE, random_tensors(WIDE, seed=1))
    target = tmp_path / "target"
    target.mkdir()
    command: list[str | Path] = [sys.executable, "-c", _WRITE_LITTLE, source, target]
    ended = subprocess.run(command, capture_output=True, text=True)
    file = target / "model-00001-of-00001.safetensors"
    assert ended.stdout.splitlines() == [str(errno.EFBIG), str(file), "File too large"], ended.stderr


def test_a_directory_that_went_away_is_an_error_of_the_system(tmp_path: Path) -> None:
    source = open_checkpoint(write_source(tmp_path / "source", WIDE, random_tensors(WIDE, seed=1)))
    with pytest.raises(FileNotFoundError, match="none"):
        write_huggingface(source, tmp_path / "none", np.float32)
