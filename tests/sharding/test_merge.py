"""Adapters of any form merged into checkpoints of any form: W + B A, whichever part is read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.adapters import Adapter, AdapterError
from sharding.adapters.forms import open_adapter
from sharding.adapters.merge import Merged, merged
from sharding.adapters.update import LoraUpdate
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.quantised import quantised_matrix
from sharding.parameters import LORA_A
from tests.oracle.random_checkpoint import random_tensors
from tests.sharding import random_adapters
from tests.sharding.checkpoint.files import (
    WIDE,
    expected_parameters,
    gguf_tensors,
    plain,
    write_gguf,
    write_huggingface,
)
from tests.sharding.checkpoint.google_files import keras_datasets, orbax_arrays, write_keras, write_orbax
from tests.sharding.checkpoint.nemo_files import write_flat
from tests.sharding.checkpoint.test_views import matrix
from tests.sharding.nemo_adapter_files import RANK, fused_adapter, write_nemo
from tests.sharding.peft_files import peft_tensors, write_peft
from tests.sharding.random_adapters import random_adapter

TENSORS = dict(random_tensors(WIDE, 0))
BASES: dict[str, Callable[[Path], object]] = {
    "Hugging Face": lambda path: write_huggingface(path, WIDE, TENSORS),
    "GGUF": lambda path: write_gguf(path, WIDE, gguf_tensors(WIDE, TENSORS)),
    "NeMo": lambda path: write_flat(path, WIDE, TENSORS),
    "Keras": lambda path: write_keras(path, WIDE, keras_datasets(WIDE, TENSORS)),
    "Orbax": lambda path: write_orbax(path, orbax_arrays(WIDE, TENSORS), is_database=False),
}
"""Each writes the same model."""


def write_adapter(path: Path, adapter: Adapter) -> Path:
    return write_peft(path, peft_tensors(adapter, factor=2), target_modules="all-linear")


@pytest.mark.parametrize("base", BASES)
def test_every_projection_of_every_form_becomes_w_plus_b_a(base: str, tmp_path: Path) -> None:
    BASES[base](tmp_path / "base")
    checkpoint = open_checkpoint(tmp_path / "base")
    one, other = fused_adapter(checkpoint.config), random_adapter(checkpoint.config, 2, 3, "attention")
    adapters = [write_nemo(tmp_path / "a.nemo", one, checkpoint.config), write_adapter(tmp_path / "b", other)]
    found = merged(checkpoint, [open_adapter(path) for path in adapters])
    expected = random_adapters.merged(random_adapters.merged(expected_parameters(WIDE, TENSORS), one), other)
    for path, source in found.tensors.items():
        np.testing.assert_allclose(plain(source).read(()), expected[path], atol=2e-6, err_msg=path)
        assert isinstance(plain(source).matrix, Merged) == (path + LORA_A in one.weights)


def test_what_is_quantised_is_decoded_added_to_and_quantised_again(tmp_path: Path) -> None:
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    tensors = gguf_tensors(WIDE, TENSORS)
    blocks = {name: gguf.quants.quantize(value, q8_0) for name, value in tensors.items() if value.ndim == 2}
    write_gguf(tmp_path / "base.gguf", WIDE, tensors | blocks, dict.fromkeys(blocks, q8_0))
    checkpoint = open_checkpoint(tmp_path / "base.gguf")
    adapter = random_adapter(checkpoint.config, 1, RANK, "layers.0.mlp.down")
    found = merged(checkpoint, [open_adapter(write_adapter(tmp_path / "a", adapter))])
    assert found.config == checkpoint.config
    numbers = {name: source.read(()) for name, source in checkpoint.dequantised().tensors.items()}
    expected = random_adapters.merged(numbers, adapter)["layers.0.mlp.down"]
    np.testing.assert_allclose(found.tensors["layers.0.mlp.down"].read(()), expected, atol=2e-6)
    quantization = checkpoint.config.quantization
    assert quantization is not None
    written = quantised_matrix(found.tensors["layers.0.mlp.down"], quantization)
    decoded = written.values(()).astype(np.float32) * written.scales(()).repeat(32, axis=-1)
    assert np.abs(decoded - expected).max() <= written.scales(()).max() * 0.51
    for name, source in checkpoint.tensors.items():
        assert (found.tensors[name] is source) == (name != "layers.0.mlp.down")


@given(st.integers(0, 39), st.integers(1, 40), st.integers(0, 29), st.integers(1, 30), st.integers(1, 5))
def test_any_part_is_that_of_the_whole(top: int, height: int, left: int, width: int, rank: int) -> None:
    rng = np.random.default_rng(rank)
    w, a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((40, 30), (rank, 30), (40, rank)))
    view = Merged.of(matrix(w), LoraUpdate(a=matrix(a), b=matrix(b), rank=rank, factor=0.5))
    rows, columns = slice(top, min(top + height, 40)), slice(left, min(left + width, 30))
    expected = (w.astype(np.float64) + 0.5 * b.astype(np.float64) @ a)[rows, columns]
    np.testing.assert_allclose(view.read(rows, columns, np.float32), expected, atol=1e-5)


def test_an_adapter_of_another_model_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "base", WIDE, TENSORS)
    checkpoint = open_checkpoint(tmp_path / "base")
    other = random_adapter(replace(checkpoint.config, embed_dim=96), 1, RANK)
    with pytest.raises(AdapterError, match=r"adapter_model.safetensors: tensor .*lora_B.* has shape \(96, 4\)"):
        merged(checkpoint, [open_adapter(write_adapter(tmp_path / "a", other))])


def test_damaged_numbers_are_named_by_the_adapter_that_has_them(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "base", WIDE, TENSORS)
    checkpoint = open_checkpoint(tmp_path / "base")
    tensors = peft_tensors(random_adapter(checkpoint.config, 1, RANK))
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    tensors[name] = np.full_like(tensors[name], np.nan)
    found = merged(checkpoint, [open_adapter(write_peft(tmp_path / "a", tensors))])
    with pytest.raises(AdapterError, match=name):
        found.tensors["layers.0.attention.q"].read(())
