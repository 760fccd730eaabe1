"""Tensors of NeMo checkpoints that are missing, superfluous or damaged are refused with file and tensor."""

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint
from tests.oracle.random_checkpoint import random_tensors
from tests.sharding.checkpoint.files import WIDE, Tensors, plain
from tests.sharding.checkpoint.nemo_files import (
    BLOSC,
    megatron_tensors,
    write_nemo1,
    write_nemo1_zarr,
    write_nemo2_stacked,
    write_parallel,
    write_ranks,
)
from tests.sharding.checkpoint.nemo_parameters import layers
from tests.sharding.checkpoint.torch_files import write_torch_file

QKV = "decoder.layers.1.self_attention.linear_qkv.weight"


def changed(edit: Callable[[Tensors], object]) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        tensors = megatron_tensors(WIDE, dict(random_tensors(WIDE, 3)))
        edit(tensors)
        write_ranks(write_nemo1(directory, WIDE), tensors, 8)

    return write


def zarr_without(name: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        write_nemo1_zarr(directory, WIDE, dict(random_tensors(WIDE, 3)))
        next(directory.rglob(name)).unlink()

    return write


def edited(write: Callable[..., Path], name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        write(directory, WIDE, dict(random_tensors(WIDE, 3)))
        file = next(directory.rglob(name))
        data = edit(file.read_bytes())
        assert data != file.read_bytes()
        file.write_bytes(data)

    return damage


def untied(directory: Path) -> None:
    tensors = megatron_tensors(WIDE, dict(random_tensors(WIDE, 3)))
    head = tensors["embedding.word_embeddings.weight"].copy()
    head[0] += 1
    write_ranks(write_nemo1(directory, WIDE), tensors | {"output_layer.weight": head}, layers(WIDE))


def on_one_rank(name: str) -> Callable[[Path], None]:
    """A tensor that the file of one rank alone has."""

    def write(directory: Path) -> None:
        tensors = megatron_tensors(WIDE, dict(random_tensors(WIDE, 3)))
        for folder in (directory, directory / "more"):
            write_nemo1(folder, WIDE, tensor_model_parallel_size=2)
            write_ranks(folder, tensors, layers(WIDE), 2)
            tensors["decoder.extra.weight"] = np.ones((4, 4), np.float32)
        (directory / "more" / name).rename(directory / "new")
        shutil.rmtree(directory / name)
        shutil.rmtree(directory / "more")
        (directory / "new").rename(directory / name)

    return write


def whole_beside_ranks(directory: Path) -> None:
    write_parallel(directory, WIDE, dict(random_tensors(WIDE, 3)), 2, 1)
    write_torch_file(directory / "model_weights.ckpt", {})


def ranks_twice(directory: Path) -> None:
    write_parallel(directory, WIDE, dict(random_tensors(WIDE, 3)), 2, 1)
    shutil.copytree(directory / "mp_rank_01", directory / "tp_rank_01_pp_rank_000")


def no_ranks(directory: Path) -> None:
    write_nemo1(directory, WIDE, tensor_model_parallel_size=4)
    write_ranks(directory, megatron_tensors(WIDE, dict(random_tensors(WIDE, 3))), layers(WIDE), 2)


DAMAGED: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing", changed(lambda t: t.pop(QKV)), rf"tensor {QKV} \(attention\.q\) \(parameter layers\.1\.attention\.q\)"),
    (
        "superfluous",
        changed(lambda t: t.update({"decoder.x": t[QKV]})),
        r"model_weights\.ckpt: tensor decoder\.x is not",
    ),
    ("layer too many", changed(lambda t: t.update({QKV.replace("1", "7"): t[QKV]})), "is not used by this model"),
    (
        "rows",
        changed(lambda t: t.update({QKV: t[QKV][:-1]})),
        rf"tensor {QKV} has 511 rows; the configuration asks for 512",
    ),
    (
        "vocabulary",
        changed(lambda t: t.update({"embedding.word_embeddings.weight": t[QKV][:90]})),
        "has 90 rows for a vo",
    ),
    ("no weights", lambda directory: write_nemo1(directory, WIDE), "has no weights: neither"),
    (
        "untied head",
        untied,
        r"model_weights\.ckpt: tensor \S*output_layer\.weight differs from \S*word_embeddings\.weight",
    ),
    (
        "on rank 0 alone",
        on_one_rank("mp_rank_00"),
        r"tensor decoder\.extra\.weight is missing in mp_rank_01/model_weights\.ckpt",
    ),
    (
        "on rank 1 alone",
        on_one_rank("mp_rank_01"),
        r"tensor decoder\.extra\.weight is missing in mp_rank_00/model_weights\.ckpt",
    ),
    ("whole beside ranks", whole_beside_ranks, r"has both model_weights\.ckpt and mp_rank_0\d/model_weights\.ckpt"),
    ("ranks twice", ranks_twice, r"has both (mp_rank_01|tp_rank_01_pp_rank_000)/model_weights\.ckpt and "),
    ("rank missing", no_ranks, "has the files of 2 x 1 tensor and pipeline ranks, .* tells of 4 x 1"),
    ("chunk missing", zarr_without("0.1.0"), r"mlp\.linear_fc1\.weight: its chunk 0\.1\.0 is missing"),
    ("chunk cut", edited(write_nemo1_zarr, "0.0.1", lambda data: data[:-1]), "a chunk of shape .* takes .* bytes, but"),
    (
        "zarr dtype",
        edited(write_nemo1_zarr, ".zarray", lambda data: data.replace(b'"<f4"', b'"|V4"')),
        "dtype '|V4' is none",
    ),
    (
        "zarr of many",
        edited(write_nemo1_zarr, ".zarray", lambda d: d.replace(b'"chunks":[1,', b'"chunks":[3,')),
        "do not fill",
    ),
    ("metadata cut", edited(write_nemo2_stacked, ".metadata", lambda data: data[:-9]), r"\.metadata: damaged: "),
    (
        "metadata evil",
        edited(write_nemo2_stacked, ".metadata", lambda d: d.replace(b"pathlib\nPosixPath", b"posix\nsystem")),
        "posix",
    ),
    (
        "part cut",
        edited(write_nemo2_stacked, "__0_1.distcp", lambda data: data[:-1]),
        r"truncated: tensor module\.\S+ ends at byte",
    ),
    (
        "file of parts",
        edited(write_nemo2_stacked, ".metadata", lambda d: d.replace(b"__0_1", b"../_1")),
        "'../_1.distcp', which is miss",
    ),
]


@pytest.mark.parametrize(("write", "message"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_damaged_checkpoint_is_refused_by_file_and_tensor(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "model")
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(tmp_path / "model")
    assert str(tmp_path / "model") in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("compressor", [BLOSC, {"id": "zlib", "level": 1}], ids=lambda compressor: compressor["id"])
@pytest.mark.parametrize("edit", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: bytes(len(data))])
def test_a_damaged_compressed_chunk_is_refused_as_it_is_read(
    tmp_path: Path, compressor: dict[str, object], edit: Callable[[bytes], bytes]
) -> None:
    write_nemo1_zarr(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)), compressor)
    file = tmp_path / "model" / "model_weights" / "model.decoder.layers.mlp.linear_fc2.weight" / "1.0.0"
    file.write_bytes(edit(file.read_bytes()))
    checkpoint = open_checkpoint(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"linear_fc2\S* has a damaged chunk"):
        plain(checkpoint.tensors["layers.1.mlp.down"]).read(())


def test_a_compressed_chunk_that_unfolds_to_more_is_refused(tmp_path: Path) -> None:
    write_nemo1_zarr(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)), {"id": "zlib", "level": 1})
    file = tmp_path / "model" / "model_weights" / "model.decoder.layers.mlp.linear_fc2.weight" / "1.0.0"
    file.write_bytes(zlib.compress(bytes(2**26)))
    checkpoint = open_checkpoint(tmp_path / "model")
    with pytest.raises(CheckpointError, match="unfolds to more than"):
        plain(checkpoint.tensors["layers.1.mlp.down"]).read(())


def test_a_compressed_chunk_that_lost_its_checksum_is_refused(tmp_path: Path) -> None:
    write_nemo1_zarr(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)), {"id": "zlib", "level": 1})
    file = tmp_path / "model" / "model_weights" / "model.decoder.layers.mlp.linear_fc2.weight" / "1.0.0"
    file.write_bytes(file.read_bytes()[:-2])
    checkpoint = open_checkpoint(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"linear_fc2.* it ends before its checksum"):
        plain(checkpoint.tensors["layers.1.mlp.down"]).read(())
