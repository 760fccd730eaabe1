"""Checkpoints of gemma_pytorch: what is read, what stays quantised, and what is refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint, read_tokenizer
from sharding.checkpoint.huggingface.config import gemma_config_from_hf
from sharding.checkpoint.quantised import QuantisedSource
from sharding.checkpoint.tokenizer import TokenizerKind
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import Tensors, expected_parameters, write_huggingface
from tests.sharding.checkpoint.google_files import (
    assert_same_model,
    gemma_pytorch_tensors,
    quantised_gemma_pytorch,
    write_gemma_pytorch,
)

GEMMA = CONFIGS["gemma-mqa"]
QKV = "model.layers.1.self_attn.qkv_proj.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize(
    ("name", "dtype", "shards"),
    [
        ("gemma-mqa", np.float32, None),
        ("gemma-mqa", ml_dtypes.bfloat16, 2),
        ("gemma-mha", ml_dtypes.bfloat16, None),
        ("gemma-mha", np.float16, 2),
    ],
)
def test_parameters_are_those_of_the_hugging_face_form(
    tmp_path: Path, name: str, dtype: Any, shards: int | None
) -> None:
    config = CONFIGS[name]
    tensors = {key: value.astype(dtype) for key, value in random_tensors(config, 1).items()}
    path = write_gemma_pytorch(tmp_path / "model.ckpt", gemma_pytorch_tensors(config, tensors), shards)
    assert_same_model(path, config, tensors)


def test_a_directory_of_one_file_is_read(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    (tmp_path / "config.json").write_text("{}")
    write_gemma_pytorch(tmp_path / "codegemma-2b.ckpt", gemma_pytorch_tensors(GEMMA, tensors))
    assert_same_model(tmp_path, GEMMA, tensors)


def test_heads_have_gemmas_size_where_no_rotations_are_stored(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    stored = gemma_pytorch_tensors(GEMMA, tensors)
    del stored["freqs_cis"]
    assert_same_model(write_gemma_pytorch(tmp_path / "model.ckpt", stored), GEMMA, tensors)


@pytest.mark.parametrize("shards", [None, 2], ids=["one file", "shards"])
@pytest.mark.parametrize("name", ["gemma-mqa", "gemma-mha"])
def test_int8_matrices_and_their_scales_are_those_of_the_file(tmp_path: Path, name: str, shards: int | None) -> None:
    config = CONFIGS[name]
    tensors = random_tensors(config, 1)
    stored = quantised_gemma_pytorch(gemma_pytorch_tensors(config, tensors))
    checkpoint = open_checkpoint(write_gemma_pytorch(tmp_path / "quant.ckpt", stored, shards))
    wanted = gemma_config_from_hf(config)
    assert replace(checkpoint.config, max_context=wanted.max_context) == wanted.quantised("int8-weights")
    # The same split of one matrix, told by the tensors before they were quantised.
    for path, numbers in expected_parameters(config, tensors).items():
        source = checkpoint.tensors[path]
        if numbers.ndim == 1:
            assert not isinstance(source, QuantisedSource)
            np.testing.assert_array_equal(source.read(()), numbers, strict=True)
            continue
        assert isinstance(source, QuantisedSource)
        values, scales = source.values(()), source.scales(())
        assert values.dtype == np.int8
        scales = scales.reshape(*scales.shape, *(1,) * (values.ndim - scales.ndim))
        assert np.all(np.abs(values * scales - numbers) <= scales * 0.501)
        part = (slice(numbers.shape[0] // 4, numbers.shape[0] // 2),)
        np.testing.assert_array_equal(source.values(part), values[part], strict=True)
        np.testing.assert_array_equal(source.scales(part), source.scales(())[part], strict=True)


@pytest.mark.parametrize("is_directory", [False, True])
def test_the_tokenizer_lies_beside_the_file(tmp_path: Path, is_directory: bool) -> None:
    file = write_gemma_pytorch(tmp_path / "model.ckpt", gemma_pytorch_tensors(GEMMA, random_tensors(GEMMA, 1)))
    path = tmp_path if is_directory else file
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        read_tokenizer(path)
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0esentencepiece")
    assert read_tokenizer(path).kind is TokenizerKind.SENTENCEPIECE


def test_older_checkpoints_of_transformers_are_not_taken_for_this_form(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    index = {"weight_map": {"model.embed_tokens.weight": "pytorch_model-00001-of-00001.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert open_checkpoint(tmp_path).format == "Hugging Face safetensors"


def without(name: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.pop(name)


DAMAGED: list[tuple[str, Callable[[Tensors], object], str]] = [
    ("no embedding", without("embedder.weight"), r"tensor embedder\.weight is missing"),
    ("missing", without(DOWN), rf"tensor {DOWN} \(parameter layers\.1\.mlp\.down\) is missing"),
    (
        "queries, keys and values missing",
        without(QKV),
        r"tensor model\.layers\.1\.self_attn\.q_proj\.weight .* is missing",
    ),
    (
        "superfluous",
        lambda tensors: tensors.update({"model.layers.1.bias": tensors[DOWN]}),
        r"tensor model_state_dict\.model\.layers\.1\.bias is not used",
    ),
    (
        "shape",
        lambda tensors: tensors.update({DOWN: tensors[DOWN].T.copy()}),
        rf"tensor model_state_dict\.{DOWN} has shape \(128, 64\); the configuration asks for \(64, 128\)",
    ),
    (
        "heads",
        lambda tensors: tensors.update({QKV: tensors[QKV][:-1]}),
        rf"tensor model_state_dict\.{QKV} has 2559 rows; that of the first layer has 2560",
    ),
    (
        "heads of the first layer",
        lambda tensors: tensors.update({QKV.replace("1", "0"): tensors[QKV][:-1]}),
        "2559 rows of queries, keys and values, 2048 of them queries, are no heads of size 256",
    ),
    (
        "type",
        lambda tensors: tensors.update({DOWN: tensors[DOWN].astype(np.complex64)}),
        rf"tensor {DOWN} has the type C64; F32, F16, BF16, I8 are supported",
    ),
    (
        "one matrix of int8",
        lambda tensors: tensors.update({DOWN: tensors[DOWN].astype(np.int8)}),
        rf"tensor model_state_dict\.{DOWN} has the type I8; the configuration asks for floating point",
    ),
    (
        "no scales",
        lambda tensors: tensors.update({"embedder.weight": tensors["embedder.weight"].astype(np.int8)}),
        r"tensor embedder\.weight_scale \(parameter embedder\.weight\) is missing",
    ),
    (
        "a layer far away",
        lambda tensors: tensors.update({"model.layers.99999999.mlp.up_proj.weight": tensors[DOWN]}),
        "layers=100000000 is no integer from 1 to 1024",
    ),
]


@pytest.mark.parametrize(("edit", "message"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, edit: Callable[[Tensors], object], message: str) -> None:
    tensors = gemma_pytorch_tensors(GEMMA, random_tensors(GEMMA, 1))
    edit(tensors)
    file = write_gemma_pytorch(tmp_path / "model.ckpt", tensors)
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"embedder.weight": "absent.bin"}, r"index\.json: names absent\.bin, which is absent"),
        ({"embedder.weight": ""}, "names , which is absent"),
        ({"embedder.weight": 3}, "weight_map is not an object of tensor name to file name"),
        ([], "weight_map is not an object of tensor name to file name"),
    ],
)
def test_an_index_that_names_no_file_is_refused(tmp_path: Path, weight_map: object, message: str) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    tensors = gemma_pytorch_tensors(GEMMA, random_tensors(GEMMA, 1))
    directory = write_gemma_pytorch(tmp_path / "shards", tensors, shards=2)
    first, second = sorted(directory.glob("*.bin"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(CheckpointError, match=rf"{second.name}: tensor \S+ is in \S+{first.name} too"):
        open_checkpoint(directory)
