"""Jlama checkpoints: what is recognised, and what is refused by name; test_blocks.py has their numbers."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint
from tests.sharding.checkpoint.files import WIDE, Tensors, expected_parameters, plain, wide_tensors
from tests.sharding.checkpoint.jlama_files import jlama_tensors, write_jlama

UP = "model.layers.1.mlp.up_proj.weight"


def write(directory: Path, edit: Callable[[Tensors], object] = lambda stored: None, kind: str = "Q4") -> Path:
    stored, _ = jlama_tensors(wide_tensors(), kind)
    edit(stored)
    return write_jlama(directory, WIDE, stored)


@pytest.mark.parametrize("named", ["", "model.safetensors"], ids=["directory", "file"])
@pytest.mark.parametrize("kind", ["Q4", "I8"])
def test_it_is_told_from_other_safetensors_by_its_content(tmp_path: Path, kind: str, named: str) -> None:
    assert open_checkpoint(write(tmp_path, kind=kind) / named).format == "Jlama safetensors"


def test_vectors_of_one_row_and_parts_of_rows_are_read(tmp_path: Path) -> None:
    _, stood_for = jlama_tensors(wide_tensors(), "Q4")
    expected = expected_parameters(WIDE, stood_for)
    tensors = open_checkpoint(write(tmp_path)).tensors
    np.testing.assert_array_equal(plain(tensors["final_norm"]).read(()), expected["final_norm"])
    part = (slice(3, 200), slice(37, 301))
    np.testing.assert_array_equal(plain(tensors["layers.1.mlp.down"]).read(part), expected["layers.1.mlp.down"][part])


@pytest.mark.parametrize("kind", ["Q4", "I8"])
def test_blocks_of_zeros_are_zeros(tmp_path: Path, kind: str) -> None:
    tensors = wide_tensors()
    tensors[UP] = np.zeros_like(tensors[UP])
    stored, _ = jlama_tensors(tensors, kind)
    stored[UP + ".qb"][:] = -0.0 if kind == "Q4" else 0.0
    up = open_checkpoint(write_jlama(tmp_path, WIDE, stored)).tensors["layers.1.mlp.up"]
    assert not plain(up).read(()).any()


def renamed_type(kind: str) -> Callable[[Path], object]:
    def damage(directory: Path) -> None:
        file = directory / "model.safetensors"
        data = file.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        header[UP]["dtype"] = kind
        text = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return damage


def scales(value: np.ndarray) -> Callable[[Tensors], object]:
    return lambda stored: stored.update({UP + ".qb": value})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda stored: stored.pop(UP + ".qb"), rf"tensor {UP} .* needs scales {UP}\.qb .* which are missing"),
        (scales(np.ones((512, 7), np.float32)), rf"tensor {UP} .* which are of type F32 and shape \(512, 7\)"),
        (scales(np.ones((512, 8), np.int8)), rf"tensor {UP} .* which are of type I8"),
        (lambda stored: stored.pop(UP), rf"tensor {UP} .* is missing"),
        (lambda stored: [stored.pop(UP), stored.pop(UP + ".qb")], rf"model\.safetensors: tensor {UP} .* is missing"),
        (
            lambda stored: [stored.pop(f"model.embed_tokens.weight{suffix}") for suffix in ("", ".qb")],
            r"tensor model\.embed_tokens\.weight .* is missing",
        ),
        (lambda stored: stored.update(bias=np.ones((1, 8), np.float32)), r"tensor bias is not used"),
    ],
)
def test_what_is_not_whole_is_refused_by_name(tmp_path: Path, edit: Callable[[Tensors], object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(write(tmp_path, edit))


@pytest.mark.parametrize("kind", ["Q5", "I32"])
def test_a_type_that_is_not_supported_is_named(tmp_path: Path, kind: str) -> None:
    renamed_type(kind)(write(tmp_path))
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: tensor {UP} has the type {kind}; F32.*Q4 are"):
        open_checkpoint(tmp_path)


def test_scales_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path, scales(np.full((512, 8), np.inf, np.float32))))
    with pytest.raises(CheckpointError, match=rf"tensor {UP} has numbers that are not finite"):
        plain(checkpoint.tensors["layers.1.mlp.up"]).read(())
