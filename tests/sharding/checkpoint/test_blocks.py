"""Blocks of GGUF and Jlama that groups of ours hold are loaded as they are, on any number of devices."""

from collections.abc import Callable
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from sharding.checkpoint import Checkpoint, open_checkpoint
from sharding.checkpoint.huggingface.writer import write_huggingface
from sharding.checkpoint.loader import load
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.quantization import Quantization
from sharding.weights import QuantisedWeight, Weight, dequantise
from tests.oracle.random_checkpoint import random_tensors
from tests.sharding.checkpoint.blocks import write_blocks_gguf
from tests.sharding.checkpoint.files import WIDE, Tensors, expected_parameters, gguf_tensors, wide_tensors, write_gguf
from tests.sharding.checkpoint.jlama_files import jlama_tensors, write_jlama

INT4, INT8_GROUPS = Quantization.INT4, Quantization.INT8_GROUPS


def gguf_blocks(directory: Path, kind: Type, embedding: Type | None = None) -> tuple[Checkpoint, Tensors]:
    tensors = wide_tensors()
    checkpoint = open_checkpoint(write_blocks_gguf(directory / "model.gguf", WIDE, tensors, kind, embedding))

    def through(name: str, value: np.ndarray) -> np.ndarray:
        if value.ndim == 1:
            return np.asarray((value + 1) - 1)
        form = embedding if embedding is not None and "embed" in name else kind
        return np.asarray(gguf.quants.dequantize(gguf.quants.quantize(value, form), form))

    return checkpoint, {name: through(name, value) for name, value in tensors.items()}


def jlama_blocks(directory: Path, kind: str, plain: tuple[str, ...] = ()) -> tuple[Checkpoint, Tensors]:
    stored, stood_for = jlama_tensors(wide_tensors(), kind, plain)
    return open_checkpoint(write_jlama(directory, WIDE, stored)), stood_for


FORMS: dict[str, tuple[Callable[[Path], tuple[Checkpoint, Tensors]], Quantization, Quantization | None]] = {
    "GGUF Q4_0": (lambda directory: gguf_blocks(directory, Type.Q4_0), INT4, INT4),
    "GGUF Q4_0, embedding Q8_0": (lambda directory: gguf_blocks(directory, Type.Q4_0, Type.Q8_0), INT4, INT8_GROUPS),
    "GGUF Q4_0, embedding BF16": (lambda directory: gguf_blocks(directory, Type.Q4_0, Type.BF16), INT4, None),
    "GGUF Q8_0": (lambda directory: gguf_blocks(directory, Type.Q8_0), INT8_GROUPS, INT8_GROUPS),
    "Jlama Q4": (lambda directory: jlama_blocks(directory, "Q4"), INT4, INT4),
    "Jlama Q4, embedding BF16": (lambda directory: jlama_blocks(directory, "Q4", ("embed",)), INT4, None),
    "Jlama I8": (lambda directory: jlama_blocks(directory, "I8"), INT8_GROUPS, INT8_GROUPS),
}


def loaded(checkpoint: Checkpoint, devices: int = 1) -> dict[str, Weight]:
    return load(checkpoint, abstract_parameters(checkpoint.config, make_mesh(devices), jnp.float32))


def numbers(weight: Weight) -> np.ndarray:
    if isinstance(weight, QuantisedWeight):
        return np.asarray(dequantise(weight.values, weight.scales, weight.dtype))
    return np.asarray(weight)


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("name", FORMS)
def test_blocks_are_kept_and_stand_for_what_the_file_does(tmp_path: Path, name: str, devices: int) -> None:
    make, projections, embedding = FORMS[name]
    checkpoint, stood_for = make(tmp_path)
    assert (checkpoint.config.quantization, checkpoint.config.embedding_quantization) == (projections, embedding)
    expected = expected_parameters(WIDE, stood_for)
    for path, weight in loaded(checkpoint, devices).items():
        np.testing.assert_array_equal(numbers(weight), expected[path], err_msg=path)
        if path.endswith(("attention.o", "mlp.up")):
            assert isinstance(weight, QuantisedWeight)
            assert weight.quantization is projections


@pytest.mark.parametrize("name", FORMS)
def test_blocks_are_decoded_if_asked_so(tmp_path: Path, name: str) -> None:
    make, _, _ = FORMS[name]
    checkpoint, stood_for = make(tmp_path)
    for path, expected in expected_parameters(WIDE, stood_for).items():
        weight = loaded(checkpoint.quantised("none"))[path]
        assert isinstance(weight, jax.Array)
        np.testing.assert_array_equal(np.asarray(weight), expected, err_msg=path)


@pytest.mark.parametrize("name", ["GGUF Q4_0", "GGUF Q4_0, embedding BF16", "Jlama Q4"])
def test_blocks_of_4_bits_are_held_in_8_as_they_are(tmp_path: Path, name: str) -> None:
    make, _, embedding = FORMS[name]
    checkpoint, stood_for = make(tmp_path)
    held = checkpoint.quantised(INT8_GROUPS)
    assert held.config.embedding_quantization == (embedding and INT8_GROUPS)
    for path, expected in expected_parameters(WIDE, stood_for).items():
        np.testing.assert_array_equal(numbers(loaded(held)[path]), expected, err_msg=path)


@pytest.mark.parametrize("quantize", ["int8", "int8-weights"])
def test_blocks_are_quantised_otherwise_if_asked_so(tmp_path: Path, quantize: str) -> None:
    checkpoint, _ = gguf_blocks(tmp_path, Type.Q8_0)
    plain = tmp_path / "plain"
    plain.mkdir()
    write_huggingface(checkpoint.quantised("none"), plain, np.float32)
    anew, expected = loaded(checkpoint.quantised(quantize)), loaded(open_checkpoint(plain).quantised(quantize))
    for path, weight in anew.items():
        np.testing.assert_array_equal(numbers(weight), numbers(expected[path]), err_msg=path)


@pytest.mark.parametrize("name", FORMS)
def test_blocks_are_converted_to_files_of_ours_as_they_are(tmp_path: Path, name: str) -> None:
    make, _, _ = FORMS[name]
    checkpoint, _ = make(tmp_path / "source" if name.startswith("Jlama") else tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    write_huggingface(checkpoint, target, np.float32)
    converted = open_checkpoint(target)
    assert converted.config == checkpoint.config
    expected = loaded(checkpoint)
    for path, weight in loaded(converted).items():
        for mine, theirs in zip(jax.tree.leaves(weight), jax.tree.leaves(expected[path]), strict=True):
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs), strict=True, err_msg=path)


def test_projections_of_both_kinds_are_held_by_the_larger_and_others_are_decoded(tmp_path: Path) -> None:
    assert mixed(tmp_path, Type.Q4_0, Type.Q8_0).config.quantization is INT8_GROUPS
    assert mixed(tmp_path, Type.Q8_0, Type.Q4_1).config.quantization is None
    assert mixed(tmp_path, Type.Q4_0, Type.F16).config.quantization is None


def mixed(directory: Path, mlp: Type, others: Type) -> Checkpoint:
    stored, types = gguf_tensors(WIDE, wide_tensors()), {}
    for name, value in stored.items():
        if value.ndim == 2:
            types[name] = mlp if "ffn" in name else others
            stored[name] = gguf.quants.quantize(value, types[name])
    return open_checkpoint(write_gguf(directory / f"{mlp.name}-{others.name}.gguf", WIDE, stored, types))


def test_heads_that_are_no_whole_number_of_groups_are_decoded(tmp_path: Path) -> None:
    config = WIDE | {"head_dim": 16, "num_attention_heads": 16, "num_key_value_heads": 16}
    file = write_blocks_gguf(tmp_path / "model.gguf", config, dict(random_tensors(config, 1)), Type.Q8_0)
    assert open_checkpoint(file).config.quantization is None
