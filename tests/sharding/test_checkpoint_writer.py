"""Checkpoints that we write: read again, they are the same model."""

import json
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.huggingface_config import gemma_config_from_hf, gemma_config_to_hf
from sharding.checkpoint.writer import write_huggingface
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint_files import WIDE, WIDE_GEMMA3
from tests.sharding.checkpoint_files import write_huggingface as write_source

GEMMA_3_27B = replace(
    gemma_config_from_hf(CONFIGS["gemma3"]), query_scale=(5376 / 32) ** -0.5, rope_scale=8.0, rope_theta=1e6
)


@pytest.mark.parametrize(
    "config", [CODEGEMMA_2B, CODEGEMMA_7B, GEMMA_3_27B, *(gemma_config_from_hf(each) for each in CONFIGS.values())]
)
def test_a_configuration_comes_back_as_it_was(config: GemmaConfig) -> None:
    written = json.loads(json.dumps(gemma_config_to_hf(config)))
    assert gemma_config_from_hf(written) == config


@pytest.mark.parametrize("config", [WIDE, WIDE_GEMMA3], ids=["gemma", "gemma3"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("max_file_bytes", [10_000, 400_000, 10**9])
def test_every_parameter_comes_back_as_it_was(tmp_path: Path, config, dtype, max_file_bytes: int) -> None:
    tensors = random_tensors(config, seed=1)
    source = open_checkpoint(write_source(tmp_path / "source", config, tensors))
    target = tmp_path / "target"
    target.mkdir()
    told: list[tuple[int, int]] = []
    write_huggingface(source, target, dtype, lambda *progress: told.append(progress), max_file_bytes)
    written = open_checkpoint(target)
    assert written.config == source.config
    assert written.tensors.keys() == source.tensors.keys()
    for path, tensor in written.tensors.items():
        np.testing.assert_array_equal(tensor.read((), dtype), source.tensors[path].read((), dtype))
    assert told[-1][0] == told[-1][1] == sum(tensor.stored.nbytes for tensor in written.tensors.values())


def test_files_are_no_larger_than_said_but_for_a_parameter_that_is(tmp_path: Path) -> None:
    source = open_checkpoint(write_source(tmp_path / "source", WIDE, random_tensors(WIDE, seed=1)))
    target = tmp_path / "target"
    target.mkdir()
    write_huggingface(source, target, np.float32, max_file_bytes=300_000)
    files = sorted(target.glob("*.safetensors"))
    assert len(files) > 2
    for number, file in enumerate(files, start=1):
        assert file.name == f"model-{number:05}-of-{len(files):05}.safetensors"
        tensors = load_file(file)
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= 300_000
