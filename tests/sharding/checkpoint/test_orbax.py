"""Orbax checkpoints of Google's Flax Gemma: what is read, and what is refused by name."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import orbax.checkpoint
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint, read_tokenizer
from sharding.checkpoint.tokenizer import TokenizerKind
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import Tensors, plain
from tests.sharding.checkpoint.google_files import assert_same_model, orbax_arrays, write_orbax

GEMMA = CONFIGS["gemma-mqa"]
DOWN = "transformer/layer_1/mlp/linear.w"


@pytest.mark.parametrize(
    ("name", "dtype", "is_database"),
    [
        ("gemma-mqa", np.float32, False),
        ("gemma-mqa", ml_dtypes.bfloat16, True),
        ("gemma-mha", ml_dtypes.bfloat16, False),
        ("gemma-mha", np.float32, True),
    ],
)
def test_parameters_are_those_of_the_hugging_face_form(
    tmp_path: Path, name: str, dtype: Any, is_database: bool
) -> None:
    config = CONFIGS[name]
    tensors = {key: value.astype(dtype) for key, value in random_tensors(config, 1).items()}
    assert_same_model(write_orbax(tmp_path, orbax_arrays(config, tensors), is_database=is_database), config, tensors)


@pytest.mark.parametrize("is_database", [False, True], ids=["zarr", "OCDBT"])
def test_what_orbax_itself_wrote_is_read(tmp_path: Path, is_database: bool) -> None:
    tensors = random_tensors(GEMMA, 1)
    tree: dict[str, dict[str, Any]] = {}
    for name, array in orbax_arrays(GEMMA, tensors).items():
        module, _, leaf = name.rpartition(".")
        tree.setdefault(module, {})[leaf] = array
    orbax.checkpoint.PyTreeCheckpointer(use_ocdbt=is_database).save(tmp_path / "2b", tree)
    assert_same_model(tmp_path / "2b", GEMMA, tensors)


def test_arrays_in_several_chunks_are_read(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    arrays = orbax_arrays(GEMMA, tensors)
    assert_same_model(write_orbax(tmp_path, arrays, is_database=False, chunks=2), GEMMA, tensors)


def test_the_names_of_nested_trees_are_read(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    arrays = {name.replace("/", "."): array for name, array in orbax_arrays(GEMMA, tensors).items()}
    assert_same_model(write_orbax(tmp_path, arrays, is_database=True), GEMMA, tensors)


def test_the_padding_of_the_vocabulary_is_left_out(tmp_path: Path) -> None:
    config = GEMMA | {"vocab_size": 256_000, "hidden_size": 8, "num_hidden_layers": 1}
    tensors = random_tensors(config, 1)
    arrays = orbax_arrays(config, tensors, padding=128)
    assert_same_model(write_orbax(tmp_path, arrays, is_database=True), config, tensors)


def test_a_vocabulary_that_was_extended_is_kept(tmp_path: Path) -> None:
    config = GEMMA | {"vocab_size": 256_064, "hidden_size": 8, "num_hidden_layers": 1}
    tensors = random_tensors(config, 1)
    assert_same_model(write_orbax(tmp_path, orbax_arrays(config, tensors), is_database=True), config, tensors)


@pytest.mark.parametrize("place", [".", ".."])
def test_the_tokenizer_is_in_the_directory_or_beside_it(tmp_path: Path, place: str) -> None:
    directory = write_orbax(tmp_path / "2b", orbax_arrays(GEMMA, random_tensors(GEMMA, 1)), is_database=True)
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        read_tokenizer(directory)
    (directory / place / "tokenizer.model").write_bytes(b"\n\x0esentencepiece")
    found = read_tokenizer(directory)
    assert (found.kind, found.read()) == (TokenizerKind.SENTENCEPIECE, b"\n\x0esentencepiece")


def test_a_folder_of_the_same_name_without_arrays_is_not_taken_for_this_form(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        open_checkpoint(tmp_path)


def arrays_with(edit: Callable[[Tensors], object]) -> Callable[[Path], object]:
    """The same checkpoint with other arrays."""

    def damage(directory: Path) -> None:
        arrays = orbax_arrays(GEMMA, random_tensors(GEMMA, 1))
        edit(arrays)
        shutil.rmtree(directory)
        write_orbax(directory, arrays, is_database=False)

    return damage


def described(**changed: object) -> Callable[[Path], object]:
    """The same files, one array's described otherwise."""

    def damage(directory: Path) -> None:
        file = directory / DOWN / ".zarray"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    return damage


DAMAGED: list[tuple[str, Callable[[Path], object], str]] = [
    (
        "missing",
        arrays_with(lambda arrays: arrays.pop(DOWN)),
        r"tensor transformer\.layer_1\.mlp\.linear\.w is missing",
    ),
    (
        "superfluous",
        arrays_with(lambda arrays: arrays.update({"transformer/layer_1/bias.w": np.ones(64, np.float32)})),
        r"tensor transformer\.layer_1\.bias\.w is not used",
    ),
    (
        "shape",
        arrays_with(lambda arrays: arrays.update({DOWN: arrays[DOWN].T})),
        r"tensor transformer\.layer_1\.mlp\.linear\.w .* has shape .*asks for \(128, 64\)",
    ),
    (
        "axes",
        arrays_with(lambda arrays: arrays.update({DOWN: arrays[DOWN][None]})),
        r"tensor transformer\.layer_1\.mlp\.linear\.w has shape \(1, 128, 64\); \(F, E\) is expected",
    ),
    (
        "parts",
        arrays_with(
            lambda arrays: arrays.update({"transformer/layer_1/mlp/gating_einsum.w": np.ones((3, 64, 128), np.float32)})
        ),
        r"gating_einsum\.w has shape \(3, 64, 128\); \(2, E, F\) is expected",
    ),
    (
        "type",
        arrays_with(lambda arrays: arrays.update({DOWN: np.ones((128, 64), np.int32)})),
        r"linear\.w has the type int32; float32, bfloat16, float16 are supported",
    ),
    (
        "a layer far away",
        arrays_with(
            lambda arrays: arrays.update({"transformer/layer_99999999/mlp/linear.w": np.ones((1, 1), np.float32)})
        ),
        "layers=100000000 is no integer from 1 to 1024",
    ),
    ("no arrays", lambda directory: shutil.rmtree(directory / "transformer"), "has 0 zarr arrays"),
    ("no JSON", lambda directory: (directory / DOWN / ".zarray").write_text("{"), "linear.w cannot be read"),
    ("chunks without end", described(chunks=[2**20, 2**20]), "has chunks of shape .* the most is 4 GiB"),
    ("an absurd axis", described(shape=[2**62, 64]), r"has shape .*|cannot be read"),
    ("an unknown compression", described(compressor={"id": "none"}), "linear.w cannot be read"),
]


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_damaged_checkpoint_is_refused_by_name(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    directory = write_orbax(tmp_path / "it", orbax_arrays(GEMMA, random_tensors(GEMMA, 1)), is_database=False)
    damage(directory)
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(directory)
    assert str(directory) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "remains", [None, b"", b"\x28\xb5\x2f\xfd", b"{" * 1000], ids=["absent", "empty", "cut", "text"]
)
def test_a_chunk_that_is_lost_or_damaged_is_refused_when_it_is_read(tmp_path: Path, remains: bytes | None) -> None:
    """TensorStore alone would take zeros for one that is absent."""
    directory = write_orbax(tmp_path, orbax_arrays(GEMMA, random_tensors(GEMMA, 1)), is_database=False)
    chunk = directory / DOWN / "0.0"
    chunk.unlink()
    if remains is not None:
        chunk.write_bytes(remains)
    checkpoint = open_checkpoint(directory)
    with pytest.raises(
        CheckpointError, match=r"tensor transformer\.layer_1\.mlp\.linear\.w cannot be read: "
    ) as raised:
        plain(checkpoint.tensors["layers.1.mlp.down"]).read(())
    assert "\n" not in str(raised.value)


def test_a_chunk_that_unpacks_to_more_than_it_should_is_refused_before_it_has(tmp_path: Path) -> None:
    directory = write_orbax(tmp_path / "it", orbax_arrays(GEMMA, random_tensors(GEMMA, 1)), is_database=False)
    write_orbax(tmp_path / "bomb", {"a": np.ones((2**20, 64), np.float32)}, is_database=False)
    shutil.copy(tmp_path / "bomb" / "a" / "0.0", directory / DOWN / "0.0")
    with pytest.raises(CheckpointError, match=r"cannot be read: .* End of data expected"):
        plain(open_checkpoint(directory).tensors["layers.1.mlp.down"]).read(())


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    directory = write_orbax(tmp_path, orbax_arrays(GEMMA, random_tensors(GEMMA, 1)), is_database=True)
    (directory / "manifest.ocdbt").write_bytes(b"\x0c\xdb:*" + b"\xff" * 100)
    with pytest.raises(CheckpointError, match="its index cannot be read: ") as raised:
        open_checkpoint(directory)
    assert str(directory) in str(raised.value)


def test_a_pipe_in_place_of_a_chunk_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    directory = write_orbax(tmp_path, orbax_arrays(GEMMA, random_tensors(GEMMA, 1)), is_database=False)
    (directory / DOWN / "0.0").unlink()
    os.mkfifo(directory / DOWN / "0.0")
    with pytest.raises(CheckpointError, match=rf"{DOWN}/0\.0 cannot be read: it is no regular file"):
        open_checkpoint(directory)
