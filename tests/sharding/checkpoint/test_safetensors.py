"""Safetensors files: what of a header is refused, with file and tensor."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from sharding.checkpoint import CheckpointError, open_checkpoint
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import Tensors, write_huggingface

GEMMA = CONFIGS["gemma-mqa"]
UP = "model.layers.1.mlp.up_proj.weight"


def edited_header(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def damage(file: Path) -> None:
        data = file.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        edit(header)
        text = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return damage


def with_tensors(edit: Callable[[Tensors], object]) -> Callable[[Path], object]:
    def damage(file: Path) -> None:
        tensors = random_tensors(GEMMA, 1)
        edit(tensors)
        save_file(tensors, file)

    return damage


DAMAGED_FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("empty", lambda file: file.write_bytes(b""), "no safetensors file"),
    ("not safetensors", lambda file: file.write_bytes(b"PK\x03\x04" * 100), "no safetensors file"),
    ("ends in the header", lambda file: file.write_bytes(file.read_bytes()[:500]), "truncated: the header ends at"),
    (
        "ends before its last byte",
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        r"truncated: tensor model\.\S+ ends at",
    ),
    (
        "header is no JSON",
        lambda file: file.write_bytes(file.read_bytes().replace(b"{", b"<", 1)),
        "corrupt safetensors header",
    ),
    ("header is a list", lambda file: file.write_bytes(struct.pack("<Q", 2) + b"[]"), "corrupt safetensors header"),
    (
        "header without offsets",
        edited_header(lambda header: header[UP].pop("data_offsets")),
        r"corrupt safetensors header: KeyError\('data_offsets'\)",
    ),
    ("type", edited_header(lambda header: header[UP].update(dtype="I64")), f"tensor {UP} has the type I64; F32"),
    (
        "U8 without axes",
        edited_header(lambda header: header.update(x={"dtype": "U8", "shape": [], "data_offsets": [0, 1]})),
        "tensor x is U8, two numbers in a byte, and has no axes",
    ),
    (
        "offsets that are no integers",
        edited_header(lambda header: header[UP].update(data_offsets=[*map(float, header[UP]["data_offsets"])])),
        rf"tensor {UP} has the shape \[128, 64\] and the data_offsets \[\d+\.0, \d+\.0\]: no integers from 0 on",
    ),
    (
        "sizes that are no integers",
        edited_header(lambda header: header[UP].update(shape=[128.0, True])),
        rf"tensor {UP} has the shape \[128\.0, True\] and the data_offsets .*: no integers from 0 on",
    ),
    (
        "shape and bytes disagree",
        edited_header(lambda header: header[UP].update(shape=[128, 32])),
        rf"tensor {UP} of shape \(128, 32\) takes 16384 bytes as F32, but the header gives it bytes",
    ),
    (
        "shape",
        edited_header(lambda header: header[UP].update(shape=[64, 128])),
        rf"tensor {UP} has shape \(64, 128\); the configuration asks for \(128, 64\)",
    ),
    (
        "missing",
        with_tensors(lambda tensors: tensors.pop(UP)),
        rf"tensor {UP} \(parameter layers\.1\.mlp\.up\) is missing",
    ),
    (
        "extra",
        with_tensors(lambda tensors: tensors.update({"model.layers.1.bias": tensors[UP]})),
        r"tensor model\.layers\.1\.bias is not used",
    ),
    ("not described", edited_header(lambda header: header.pop(UP)), r"nothing describes bytes \d+ to \d+, before "),
    (
        "two in one place",
        edited_header(lambda header: header.update({"model.layers.1.bias": header[UP]})),
        rf"tensors {UP} and model\.layers\.1\.bias share bytes \d+ to \d+",
    ),
    (
        "more at the end",
        lambda file: file.write_bytes(file.read_bytes() + b"abc"),
        "nothing describes its last 3 bytes",
    ),
    (
        "nested without end",
        lambda file: file.write_bytes(struct.pack("<Q", 400_000) + b"[" * 400_000),
        "corrupt safetensors header: RecursionError",
    ),
    ("negative shape", edited_header(lambda header: header[UP].update(shape=[-128, -64])), "has the shape"),
]


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in DAMAGED_FILES], ids=[c[0] for c in DAMAGED_FILES])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    write_huggingface(tmp_path, GEMMA, random_tensors(GEMMA, 1))
    damage(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(tmp_path)
    assert str(tmp_path) in str(raised.value)
