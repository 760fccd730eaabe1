"""Keras checkpoints: what is read, and what is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint, read_tokenizer
from sharding.checkpoint.tokenizer import TokenizerKind
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import Tensors, plain
from tests.sharding.checkpoint.google_files import (
    assert_same_model,
    keras_config,
    keras_datasets,
    nested_otherwise,
    write_hdf5,
    write_keras,
)

GEMMA = CONFIGS["gemma-mqa"]
DOWN = "layers/gemma_decoder_block_1/ffw_linear/vars/0"


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
    assert_same_model(write_keras(tmp_path, config, keras_datasets(config, tensors), shards), config, tensors)


def test_names_that_are_nested_in_another_way_are_read(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    renamed = nested_otherwise(keras_datasets(GEMMA, tensors))
    assert_same_model(write_keras(tmp_path, GEMMA, renamed), GEMMA, tensors)


def test_states_of_a_training_are_ignored(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    states: Tensors = {
        "layers/gemma_decoder_block/attention/dropout_layer/seed_generator/vars/0": np.ones(2, np.uint32),
        "optimizer/vars/0": np.ones((), np.int64),
    }
    assert_same_model(write_keras(tmp_path, GEMMA, keras_datasets(GEMMA, tensors) | states), GEMMA, tensors)


def test_a_list_of_shards_is_followed(tmp_path: Path) -> None:
    tensors = random_tensors(GEMMA, 1)
    write_keras(tmp_path, GEMMA, keras_datasets(GEMMA, tensors), shards=2)
    files = sorted(file.name for file in tmp_path.glob("*.h5"))
    (tmp_path / "model.weights.json").write_text(json.dumps({"weight_map": {"/layers": files}}))
    assert_same_model(tmp_path, GEMMA, tensors)


def test_the_tokenizer_is_among_the_assets(tmp_path: Path) -> None:
    write_keras(tmp_path, GEMMA, keras_datasets(GEMMA, random_tensors(GEMMA, 1)))
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        read_tokenizer(tmp_path)
    file = tmp_path / "assets" / "tokenizer" / "vocabulary.spm"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\n\x0esentencepiece")
    found = read_tokenizer(tmp_path)
    assert (found.kind, found.read()) == (TokenizerKind.SENTENCEPIECE, b"\n\x0esentencepiece")


def datasets_with(edit: Callable[[Tensors], object]) -> Callable[[Path], object]:
    """A file of other datasets."""

    def damage(file: Path) -> None:
        datasets = keras_datasets(GEMMA, random_tensors(GEMMA, 1))
        edit(datasets)
        write_hdf5(file, datasets)

    return damage


def edited(edit: Callable[[h5py.File], object]) -> Callable[[Path], object]:
    """The same file without one dataset, and with what takes its place."""

    def damage(file: Path) -> None:
        with h5py.File(file, "r+") as opened:
            del opened[DOWN]
            edit(opened)

    return damage


def virtual(opened: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(128, 64), dtype=np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", shape=(128, 64))
    opened.create_virtual_dataset(DOWN, layout)


def preceded(file: Path) -> None:
    """By a user block, which HDF5 reserves for others."""
    with h5py.File(file, "w", userblock_size=512):
        pass


def short_addresses(file: Path) -> Path:
    """A file without datasets, of superblock version 2."""
    properties = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    properties.set_sizes(4, 4)
    h5py.h5f.create(bytes(file), h5py.h5f.ACC_TRUNC, fcpl=properties).close()
    return file


DAMAGED: list[tuple[str, Callable[[Path], object], str]] = [
    ("empty", lambda file: file.write_bytes(b""), "cannot be read: OSError: "),
    ("no HDF5", lambda file: file.write_bytes(b"PK\x03\x04" * 1000), "cannot be read: OSError: "),
    (
        "more at the end",
        lambda file: file.write_bytes(file.read_bytes() + b"abc"),
        "nothing describes its last 3 bytes",
    ),
    (
        "more at the end, with addresses of 4 bytes",
        lambda file: file.write_bytes(short_addresses(file).read_bytes() + b"abc"),
        "nothing describes its last 3 bytes",
    ),
    ("something before it", preceded, "it begins with 512 bytes of something else"),
    ("cut", lambda file: file.write_bytes(file.read_bytes()[:-1000]), "cannot be read: OSError: .*truncated"),
    (
        "missing",
        edited(lambda opened: None),
        r"tensor decoder_block_1/ffw_linear \(parameter layers\.1\.mlp\.down\) is",
    ),
    (
        "superfluous",
        datasets_with(lambda datasets: datasets.update({"layers/gemma_decoder_block_1/bias/vars/0": datasets[DOWN]})),
        r"tensor layers/gemma_decoder_block_1/bias/vars/0 is not used",
    ),
    (
        "twice",
        datasets_with(lambda datasets: datasets.update({f"backbone/{DOWN}": datasets[DOWN]})),
        rf"tensor \S*{DOWN} is \S*{DOWN} of \S+ too",
    ),
    (
        "shape",
        datasets_with(lambda datasets: datasets.update({DOWN: datasets[DOWN].T})),
        rf"tensor {DOWN} has shape \(64, 128\); the configuration asks for \(128, 64\)",
    ),
    (
        "type",
        datasets_with(lambda datasets: datasets.update({DOWN: datasets[DOWN].astype(np.float64)})),
        rf"tensor {DOWN} has the type <f8; <f4, <f2, bfloat16, \|i1 are supported",
    ),
    (
        "other byte order",
        datasets_with(lambda datasets: datasets.update({DOWN: datasets[DOWN].astype(">f4")})),
        rf"tensor {DOWN} has the type >f4",
    ),
    (
        "opaque",
        datasets_with(lambda datasets: datasets.update({DOWN: datasets[DOWN].astype(np.float16).view("V2")})),
        rf"tensor {DOWN} has the type \|V2",
    ),
    (
        "quantised",
        datasets_with(lambda datasets: datasets.update({DOWN: datasets[DOWN].astype(np.int8)})),
        rf"tensor {DOWN} has the type I8; the configuration asks for floating point",
    ),
    (
        "compressed",
        edited(lambda opened: opened.create_dataset(DOWN, data=np.ones((128, 64), np.float32), compression="gzip")),
        f"{DOWN} is stored in chunks or compressed",
    ),
    (
        "without values",
        edited(lambda opened: opened.create_dataset(DOWN, shape=(128, 64), dtype=np.float32)),
        f"{DOWN} has no values",
    ),
    (
        "without a shape",
        edited(lambda opened: opened.create_dataset(DOWN, data=h5py.Empty("f4"))),
        f"{DOWN} has no values",
    ),
    (
        "in another file",
        edited(
            lambda opened: opened.create_dataset(
                DOWN, shape=(128, 64), dtype=np.float32, external=[("/etc/passwd", 0, 128 * 64 * 4)]
            )
        ),
        f"{DOWN} lies in other files, which are not read",
    ),
    ("virtual", edited(virtual), f"{DOWN} lies in other files, which are not read"),
    (
        "a link to another file",
        edited(lambda opened: opened.__setitem__(DOWN, h5py.ExternalLink("/etc/passwd", "/"))),
        f"{DOWN} is a link; what it leads to is not read",
    ),
    (
        "a link",
        edited(lambda opened: opened.__setitem__(DOWN, h5py.SoftLink("/layers"))),
        f"{DOWN} is a link; what it leads to is not read",
    ),
    (
        "a group in itself",
        edited(lambda opened: opened.__setitem__("layers/again", opened["layers"])),
        "more than 32768 entries, or some in more than 16 groups",
    ),
    ("a name of two lines", edited(lambda opened: opened.create_group("a\nb")), r"an entry has the name 'a\\nb'"),
]


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    write_keras(tmp_path, GEMMA, keras_datasets(GEMMA, random_tensors(GEMMA, 1)))
    damage(tmp_path / "model.weights.h5")
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_name": "Gemma3Backbone", "config": {}}, "class_name='Gemma3Backbone' is not supported; GemmaBackbone"),
        ({"class_name": "GemmaBackbone"}, "class_name='GemmaBackbone' is not supported"),
        (keras_config(GEMMA, num_layers=10**9), "num_layers=1000000000 is no integer from 1 to 1024"),
        (keras_config(GEMMA, intermediate_dim=129), "intermediate_dim=129 is odd"),
        (keras_config(GEMMA, hidden_dim="wide"), "hidden_dim='wide' is no integer"),
        (keras_config(GEMMA, layer_norm_epsilon=0), "layer_norm_epsilon=0 is no positive number"),
        (keras_config(GEMMA, use_post_ffw_norm=True), "use_post_ffw_norm=True is not supported"),
        (keras_config(GEMMA, final_logit_soft_cap=30.0), r"final_logit_soft_cap=30\.0 is not supported"),
    ],
)
def test_an_unsupported_configuration_is_refused_by_field(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    write_keras(tmp_path, GEMMA, {})
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"/layers": "absent.h5"}, r"model\.weights\.json: names absent\.h5, which is absent"),
        ({"/layers": ""}, "weight_map is not an object of group to file names"),
        ({"/layers": "../.."}, r"names \.\./\.\., which is absent"),
        ({"/layers": 3}, "weight_map is not an object of group to file names"),
        ([], "weight_map is not an object of group to file names"),
    ],
)
def test_an_index_that_names_no_file_is_refused(tmp_path: Path, weight_map: object, message: str) -> None:
    write_keras(tmp_path, GEMMA, {}, shards=1)
    (tmp_path / "model.weights.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path)


def test_numbers_that_are_not_finite_are_refused_when_they_are_read(tmp_path: Path) -> None:
    datasets = keras_datasets(GEMMA, random_tensors(GEMMA, 1))
    datasets[DOWN] = np.full((128, 64), np.nan, np.float32)
    checkpoint = open_checkpoint(write_keras(tmp_path, GEMMA, datasets))
    with pytest.raises(CheckpointError, match=rf"model\.weights\.h5: tensor {DOWN} has numbers that are not finite"):
        plain(checkpoint.tensors["layers.1.mlp.down"]).read(())
