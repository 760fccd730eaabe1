"""Hugging Face directories: which tensors are read, and under which names."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import Tensors, expected_parameters, plain, write_huggingface
from tests.sharding.checkpoint.torch_files import write_torch_file

GEMMA = CONFIGS["gemma-mqa"]
GEMMA3 = CONFIGS["gemma3"]
UP = "model.layers.1.mlp.up_proj.weight"


def assert_parameters(path: Path, config: dict[str, Any], tensors: Tensors) -> None:
    checkpoint = open_checkpoint(path)
    expected = expected_parameters(config, tensors)
    assert checkpoint.tensors.keys() == expected.keys()
    for name, source in checkpoint.tensors.items():
        assert source.shape == expected[name].shape
        np.testing.assert_array_equal(plain(source).read((), expected[name].dtype), expected[name], strict=True)


@pytest.mark.parametrize("shards", [None, 3], ids=["single", "indexed"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_read_under_their_paths(tmp_path: Path, name: str, dtype: Any, shards: int | None) -> None:
    tensors = {key: value.astype(dtype) for key, value in random_tensors(CONFIGS[name], 1).items()}
    write_huggingface(tmp_path, CONFIGS[name], tensors, shards)
    assert_parameters(tmp_path, CONFIGS[name], tensors)


def test_the_output_projection_and_rope_frequencies_of_other_writers_are_ignored(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    superfluous = {
        "lm_head.weight": tensors["model.embed_tokens.weight"].copy(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(128, np.float32),
    }
    write_huggingface(tmp_path, GEMMA, tensors | superfluous)
    assert_parameters(tmp_path, GEMMA, tensors)


def test_a_head_of_its_own_is_refused(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    head = tensors["model.embed_tokens.weight"].copy()
    head[256] *= 1.01
    write_huggingface(tmp_path, GEMMA, tensors | {"lm_head.weight": head})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: tensor lm_head\.weight differs from model\.embed"):
        open_checkpoint(tmp_path)


def test_a_model_that_peft_has_wrapped_is_read(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    wrapped = {
        f"base_model.model.{name.replace('_proj.weight', '_proj.base_layer.weight')}": value
        for name, value in tensors.items()
    }
    write_huggingface(tmp_path, GEMMA, wrapped)
    assert_parameters(tmp_path, GEMMA, tensors)
    adapter = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight": np.ones((4, 64), np.float32)}
    write_huggingface(tmp_path, GEMMA, wrapped | adapter)
    with pytest.raises(CheckpointError, match=r"q_proj\.lora_A\.default\.weight is not used by this model"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("shards", [None, 3], ids=["single", "indexed"])
def test_a_file_of_a_checkpoint_stands_for_it(tmp_path: Path, shards: int | None) -> None:
    tensors = random_tensors(GEMMA, 1)
    write_huggingface(tmp_path, GEMMA, tensors, shards)
    assert_parameters(max(tmp_path.glob("*.safetensors")), GEMMA, tensors)


def test_a_file_of_another_name_is_read_beside_its_configuration(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    write_huggingface(tmp_path, GEMMA, tensors)
    file = (tmp_path / "model.safetensors").rename(tmp_path / "tuned.safetensors")
    assert_parameters(file, GEMMA, tensors)


@pytest.mark.parametrize("shards", [None, 2], ids=["single", "indexed"])
@pytest.mark.parametrize(
    "name",
    [
        *("transformer/readme", "_METADATA", "_CHECKPOINT_METADATA", "model_config.yaml", "context/model.yaml"),
        *("last.ckpt", "model.weights.h5"),
    ],
)
def test_what_other_forms_have_beside_a_complete_checkpoint_changes_nothing(
    tmp_path: Path, name: str, shards: int | None
) -> None:
    tensors = random_tensors(GEMMA, 1)
    write_huggingface(tmp_path, GEMMA, tensors, shards)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write_torch_file(tmp_path / name, {})
    assert open_checkpoint(tmp_path).format == "Hugging Face safetensors"
    assert_parameters(tmp_path, GEMMA, tensors)


@pytest.mark.parametrize(
    ("text", "vision"),
    [("language_model.model.", "vision_tower."), ("model.language_model.", "model.vision_tower.")],
)
def test_the_text_model_of_a_multimodal_checkpoint_is_read(tmp_path: Path, text: str, vision: str) -> None:
    tensors = random_tensors(GEMMA3, 1)
    stored = {text + name.removeprefix("model."): value for name, value in tensors.items()}
    stored[f"{vision}patch.weight"] = np.ones((3, 3), np.float32)
    write_huggingface(tmp_path, {"model_type": "gemma3", "text_config": GEMMA3}, stored)
    assert_parameters(tmp_path, GEMMA3, tensors)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_tensor_and_file(tmp_path: Path, value: float) -> None:
    tensors = random_tensors(GEMMA, 1)
    tensors[UP] = tensors[UP].copy()
    tensors[UP][3, 4] = value
    checkpoint = open_checkpoint(write_huggingface(tmp_path, GEMMA, tensors))
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: tensor {UP} has numbers that are not finite"):
        plain(checkpoint.tensors["layers.1.mlp.up"]).read(())
