"""The files of Hugging Face directories: what is missing, named twice or of another form is refused by name."""

import json
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint, read_tokenizer
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import plain, write_huggingface

GEMMA = CONFIGS["gemma-mqa"]
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize("config", [True, False], ids=["with a configuration", "without"])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("pytorch_model-00001-of-00002.bin", r"pickled by PyTorch"),
        ("decoder_model.onnx", "ONNX"),
        ("onnx/model.onnx", "ONNX"),
        ("flax_model.msgpack", "of Flax"),
        ("adapter_model.safetensors", "those of an adapter alone"),
    ],
)
def test_other_forms_are_refused_by_name(tmp_path: Path, name: str, form: str, config: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    if config:
        (tmp_path / "config.json").write_text(json.dumps(GEMMA))
    with pytest.raises(
        CheckpointError, match=rf"{tmp_path}: its weights are {form}.* not supported\. Take the safetens"
    ):
        open_checkpoint(tmp_path)


def test_an_index_that_names_an_absent_shard_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"index\.json: tensor \S+ is in model-00002-of-00002\.safetensors, which is"
    ):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_description_without_end_is_refused_unread(tmp_path: Path, name: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    with (tmp_path / name).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match=rf"{name} has more than 16777216 bytes, the most that is read"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_a_tokenizer_without_end_is_refused_unread(tmp_path: Path, name: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match=rf"{name} has more than 134217728 bytes, the most that is read"):
        read_tokenizer(tmp_path).read()


def test_an_index_that_places_a_tensor_in_the_wrong_shard_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    index_file = tmp_path / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    index["weight_map"][UP] = "model-00001-of-00002.safetensors"
    index_file.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=rf"00001-of-00002\.safetensors: tensor {UP}, which .* is missing"):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    first, second = sorted(tmp_path.glob("*.safetensors"))
    index_file = tmp_path / "model.safetensors.index.json"
    weight_map = json.loads(index_file.read_text())["weight_map"]
    twice, other, *_ = [name for name, shard in weight_map.items() if shard == second.name]
    first.write_bytes(second.read_bytes())
    index_file.write_text(json.dumps({"weight_map": {twice: first.name, other: second.name}}))
    with pytest.raises(CheckpointError, match=r"tensor \S+ is in \S+/model-0000[12]-of-00002.safetensors too"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": {"a": 1}}', "{}"])
def test_an_unreadable_index_is_refused(tmp_path: Path, content: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1), shards=2)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"index\.json.* is not"):
        open_checkpoint(tmp_path)


def test_a_directory_without_weights_or_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(GEMMA))
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor model\.safetensors\.index\.json"):
        open_checkpoint(tmp_path)


def test_a_path_where_nothing_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or directory"):
        open_checkpoint(tmp_path / "absent")


@pytest.mark.parametrize("shard", ["", ".", "..", "/"])
def test_an_index_that_names_no_file_is_refused(tmp_path: Path, shard: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {UP: shard}}))
    with pytest.raises(CheckpointError, match=rf"tensor {UP} is in {shard}, which is absent"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.model"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        read_tokenizer(tmp_path)
    if name != "tokenizer.model":
        with pytest.raises(CheckpointError, match=r"no regular file|neither"):
            open_checkpoint(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    file = tmp_path / "model.safetensors"
    file.unlink()
    file.symlink_to("/proc/self/mem")
    with pytest.raises(CheckpointError, match=rf"{file} cannot be read|{file}: no safetensors"):
        open_checkpoint(file)


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1)))
    os.truncate(tmp_path / "model.safetensors", 5000)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: became shorter while it was read"):
        plain(checkpoint.tensors["layers.1.mlp.up"]).read(())
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read: No such file"):
        plain(checkpoint.tensors["layers.1.mlp.up"]).read(())


def test_an_error_is_one_line_whatever_a_file_says(tmp_path: Path) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    weight_map = {"a\nb\x1b[31m" + "x" * 5000: "absent"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=r"tensor a\\nb\\x1b\[31mx+ \.\.\. x+ is in absent, which") as raised:
        open_checkpoint(tmp_path)
    assert len(str(raised.value)) < 1000


def test_float16_beside_bfloat16_is_refused_with_the_tensor(tmp_path: Path) -> None:
    tensors = {name: value.astype(ml_dtypes.bfloat16) for name, value in random_tensors(GEMMA, 1).items()}
    write_huggingface(tmp_path, GEMMA, tensors | {UP: tensors[UP].astype(np.float16)})
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: tensor {UP} has the type F16, and \d+ others"):
        open_checkpoint(tmp_path)
