"""GGUF files: what is read, and what is refused by name."""

import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from sharding.checkpoint import CheckpointError, open_checkpoint
from sharding.checkpoint.gguf.config import gemma_config_from_gguf
from sharding.checkpoint.huggingface.config import gemma_config_from_hf
from tests.oracle.random_checkpoint import random_tensors
from tests.sharding.checkpoint.files import WIDE, WIDE_GEMMA3, expected_parameters, gguf_tensors, plain, write_gguf

UP = "blk.1.ffn_up.weight"


def decodable() -> list[Type]:
    """Every block type that the gguf package dequantises."""
    types = []
    for kind, (_, block_bytes) in gguf.GGML_QUANT_SIZES.items():
        try:
            gguf.quants.dequantize(np.zeros((1, block_bytes), np.uint8), kind)
        except NotImplementedError:
            continue
        types.append(kind)
    return types


def encoded(shape: tuple[int, ...], kind: Type, seed: int) -> np.ndarray:
    """Random blocks. Bytes stay below 60, so that scales (float16, bfloat16) are finite and below 1."""
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = shape
    return np.random.default_rng(seed).integers(0, 60, (rows, columns // block * block_bytes), np.uint8)


def through(values: np.ndarray, kind: Type) -> np.ndarray:
    return gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)


def test_every_type_that_the_package_dequantises_is_tested() -> None:
    assert {Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q8_0, Type.Q4_K, Type.Q5_K, Type.Q6_K} <= set(decodable())
    assert len(decodable()) >= 24


@pytest.mark.parametrize("kind", decodable(), ids=lambda kind: kind.name)
def test_parameters_of_every_type_are_what_the_gguf_package_dequantises(tmp_path: Path, kind: Type) -> None:
    tensors = random_tensors(WIDE, 1)
    stored = gguf_tensors(WIDE, tensors)
    matrices = [name for name, value in stored.items() if value.ndim == 2]
    for seed, name in enumerate(matrices):
        stored[name] = encoded(stored[name].shape, kind, seed)
    types = dict.fromkeys(matrices, kind)
    checkpoint = open_checkpoint(write_gguf(tmp_path / "model.gguf", WIDE, stored, types))

    part: tuple[slice, ...]
    q = gguf.quants.dequantize(stored["blk.1.attn_q.weight"], kind).reshape(4, 64, 256)
    np.testing.assert_array_equal(plain(checkpoint.tensors["layers.1.attention.q"]).read(()), q)
    part = (slice(1, 3),)
    np.testing.assert_array_equal(plain(checkpoint.tensors["layers.1.attention.q"]).read(part), q[part])
    o = gguf.quants.dequantize(stored["blk.0.attn_output.weight"], kind).reshape(256, 4, 64)
    part = (slice(None), slice(2, 3))
    np.testing.assert_array_equal(plain(checkpoint.tensors["layers.0.attention.o"]).read(part), o[part])
    down = gguf.quants.dequantize(stored["blk.0.ffn_down.weight"], kind)
    part = (slice(None), slice(100, 300))
    np.testing.assert_array_equal(plain(checkpoint.tensors["layers.0.mlp.down"]).read(part), down[part])


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0], ids=lambda kind: kind.name)
@pytest.mark.parametrize("config", [WIDE, WIDE_GEMMA3], ids=["gemma", "gemma3"])
def test_parameters_come_back_under_their_paths(tmp_path: Path, config: dict[str, object], kind: Type) -> None:
    tensors = random_tensors(config, 1)
    stored = gguf_tensors(config, tensors)
    matrices = [name for name, value in stored.items() if value.ndim == 2]
    for name in matrices:
        stored[name] = gguf.quants.quantize(stored[name], kind)
    for name, value in tensors.items():
        # What is left of a number in that type, or of a norm weight after adding one to it in float32.
        tensors[name] = through(value, kind) if value.ndim == 2 else (value + 1) - 1
    checkpoint = open_checkpoint(write_gguf(tmp_path / "model.gguf", config, stored, dict.fromkeys(matrices, kind)))
    expected = expected_parameters(config, tensors)
    assert checkpoint.tensors.keys() == expected.keys()
    for path, source in checkpoint.tensors.items():
        np.testing.assert_array_equal(plain(source).read(()), expected[path], strict=True)


def test_the_configuration_is_that_of_the_same_model_at_hugging_face(tmp_path: Path) -> None:
    gemma = open_checkpoint(write_gguf(tmp_path / "1", WIDE, gguf_tensors(WIDE, random_tensors(WIDE, 1))))
    assert gemma.config == gemma_config_from_hf(WIDE)
    tensors = gguf_tensors(WIDE_GEMMA3, random_tensors(WIDE_GEMMA3, 1))
    scaling: list[tuple[str, float | str]] = [("rope.scaling.type", "linear"), ("rope.scaling.factor", 8.0)]
    gemma3 = open_checkpoint(write_gguf(tmp_path / "3", WIDE_GEMMA3, tensors, keys=scaling))
    # Not in the file: the query scale is that of the head size, every sixth layer is global.
    same = {"query_pre_attn_scalar": WIDE_GEMMA3["head_dim"], "sliding_window_pattern": 6}
    assert gemma3.config == gemma_config_from_hf(WIDE_GEMMA3 | same)


def test_gemma_3_27b_scales_queries_by_the_width_per_head() -> None:
    sizes = {
        "context_length": 131072,
        "embedding_length": 5376,
        "block_count": 62,
        "feed_forward_length": 21504,
        "attention.head_count": 32,
        "attention.head_count_kv": 16,
        "attention.key_length": 128,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.sliding_window": 1024,
    }
    metadata = {"general.architecture": "gemma3", **{f"gemma3.{key}": value for key, value in sizes.items()}}
    assert gemma_config_from_gguf(metadata, vocab_size=262_208).query_scale == 168**-0.5


def with_tensor(name: str, value: np.ndarray | None) -> Callable[[Path], object]:
    """The same file with one tensor replaced, added, or left out."""

    def write(file: Path) -> None:
        tensors = gguf_tensors(WIDE, random_tensors(WIDE, 1))
        tensors.pop(name, None)
        write_gguf(file, WIDE, tensors | ({} if value is None else {name: value}))

    return write


def patched(position: int, value: bytes) -> Callable[[Path], object]:
    def write(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[position : position + len(value)] = value
        file.write_bytes(data)

    return write


def with_key(kind: int, value: bytes) -> bytes:
    """A file with nothing but one key."""
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    return header + struct.pack("<Q", 1) + b"k" + struct.pack("<I", kind) + value


def nested_arrays(depth: int) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(with_key(9, struct.pack("<IQ", 9, 1) * depth))


def many_strings(count: int) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(with_key(9, struct.pack("<IQ", 8, count)))


def shared_bytes(file: Path) -> None:
    """Puts every tensor where the first one is."""
    data = file.read_bytes()
    for tensor in gguf.GGUFReader(file).tensors:
        field = tensor.field
        at = field.offset + sum(part.nbytes for part in field.parts[:-1])
        data = data[:at] + struct.pack("<Q", 0) + data[at + 8 :]
    file.write_bytes(data)


def edited_type(name: str, kind: Type) -> Callable[[Path], object]:
    def write(file: Path) -> None:
        [tensor] = [tensor for tensor in gguf.GGUFReader(file).tensors if tensor.name == name]
        at = tensor.field.offset + sum(part.nbytes for part in tensor.field.parts[:-2])
        patched(at, struct.pack("<I", kind))(file)

    return write


DAMAGED_FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("empty", lambda file: file.write_bytes(b""), "is no checkpoint of a known form"),
    ("not GGUF", patched(0, b"ggml"), r"is no checkpoint of a known form \(GGUF, "),
    ("version", patched(4, struct.pack("<I", 1)), "GGUF version 1 is not supported"),
    ("big-endian", patched(4, struct.pack(">I", 3)), "GGUF version 50331648 is not supported"),
    (
        "ends in the header",
        lambda file: file.write_bytes(file.read_bytes()[:1000]),
        "truncated or corrupt GGUF header near byte",
    ),
    ("absurd length", patched(24, struct.pack("<Q", 2**62)), "truncated or corrupt GGUF header near byte 32"),
    (
        "ends before its last byte",
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        r"truncated: tensor \S+ ends at",
    ),
    (
        "more at the end",
        lambda file: file.write_bytes(file.read_bytes() + b"abc"),
        "nothing describes its last 3 bytes",
    ),
    (
        "a type of fewer bytes",
        edited_type("blk.1.ffn_norm.weight", Type.BF16),
        r"nothing describes bytes \d+ to \d+, before tensor ",
    ),
    ("missing", with_tensor(UP, None), rf"tensor {UP} \(parameter layers\.1\.mlp\.up\) is missing"),
    ("no embedding", with_tensor("token_embd.weight", None), r"tensor token_embd\.weight \(\S+ \S+\) is missing"),
    (
        "extra",
        with_tensor("output.weight", np.ones((96, 256), np.float32)),
        r"tensor output\.weight differs from token_embd\.weight",
    ),
    ("extra bias", with_tensor("blk.0.attn_q.bias", np.ones(256, np.float32)), r"blk\.0\.attn_q\.bias is not used"),
    (
        "shape",
        with_tensor(UP, np.ones((256, 512), np.float32)),
        rf"tensor {UP} has shape \(256, 512\); the configuration asks for \(512, 256\)",
    ),
    (
        "type",
        with_tensor(UP, np.ones((512, 256), np.int8)),
        rf"tensor {UP} has a type that cannot be decoded: Dequantization for I8",
    ),
    (
        "architecture",
        lambda file: write_gguf(file, WIDE | {"model_type": "gemma2"}, gguf_tensors(WIDE, random_tensors(WIDE, 1))),
        "general.architecture 'gemma2' is not supported",
    ),
    (
        "layers without end",
        lambda file: write_gguf(
            file, WIDE | {"num_hidden_layers": 2**32 - 1}, gguf_tensors(WIDE, random_tensors(WIDE, 1))
        ),
        r"gemma\.block_count=4294967295 is no integer from 1 to 1024",
    ),
    ("arrays without end", nested_arrays(10_000), "truncated or corrupt GGUF header .* nested more than 4 deep"),
    ("strings without end", many_strings(2**40), "truncated or corrupt GGUF header .*1099511627776 strings are said"),
    (
        "two tensors in one place",
        shared_bytes,
        r"tensors \S+ and \S+ share bytes \d+ to \d+",
    ),
    (
        "softcapping",
        lambda file: write_gguf(
            file, WIDE, gguf_tensors(WIDE, random_tensors(WIDE, 1)), keys=[("final_logit_softcapping", 30.0)]
        ),
        r"gemma\.final_logit_softcapping=30\.0 is not supported",
    ),
    (
        "rope scaling",
        lambda file: write_gguf(
            file, WIDE, gguf_tensors(WIDE, random_tensors(WIDE, 1)), keys=[("rope.scaling.type", "yarn")]
        ),
        r"gemma\.rope\.scaling\.type='yarn' is not supported",
    ),
]


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in DAMAGED_FILES], ids=[c[0] for c in DAMAGED_FILES])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    file = write_gguf(tmp_path / "model.gguf", WIDE, gguf_tensors(WIDE, random_tensors(WIDE, 1)))
    damage(file)
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("keys", "scale"),
    [
        ({}, 1.0),
        ({"rope.scaling.factor": 8.0}, 8.0),
        ({"rope.scale_linear": 4.0}, 4.0),
        ({"rope.scaling.factor": 8.0, "rope.scale_linear": 4.0}, 8.0),
        ({"rope.scaling.factor": 0.0, "rope.scale_linear": 4.0}, 1.0),
        ({"rope.scaling.type": "linear", "rope.scale_linear": 4.0}, 4.0),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 8.0}, 1.0),
    ],
)
def test_positions_are_scaled_as_llama_cpp_scales_them(keys: dict[str, object], scale: float) -> None:
    metadata = {f"gemma.{key}": value for key, value in keys.items()}
    assert gemma_config_from_gguf(minimal("gemma") | metadata, vocab_size=8).rope_scale == scale


@pytest.mark.parametrize("key", ["rope.scaling.factor", "rope.scale_linear"])
def test_a_scale_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(CheckpointError, match=rf"gemma\.{key}=-1\.0 is no positive number"):
        gemma_config_from_gguf(minimal("gemma") | {f"gemma.{key}": -1.0}, vocab_size=8)


def minimal(architecture: str) -> dict[str, object]:
    """The metadata that a model must have."""
    names = ["context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count"]
    names += ["attention.head_count_kv", "attention.key_length", "attention.sliding_window"]
    sizes: dict[str, object] = {f"{architecture}.{name}": 8 for name in names}
    epsilon = f"{architecture}.attention.layer_norm_rms_epsilon"
    return {"general.architecture": architecture, **sizes, epsilon: 1e-6}


@pytest.mark.parametrize("key", ["embedding_length", "block_count", "attention.sliding_window"])
def test_a_missing_key_is_named(key: str) -> None:
    metadata = minimal("gemma3")
    del metadata[f"gemma3.{key}"]
    with pytest.raises(CheckpointError, match=rf"key gemma3\.{key} is missing"):
        gemma_config_from_gguf(metadata, vocab_size=8)
