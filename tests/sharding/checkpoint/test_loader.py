"""Loading puts every parameter on its devices, and nothing else."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from jax.experimental.layout import Format, Layout
from jax.typing import DTypeLike

from sharding.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from sharding.checkpoint.loader import load
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from tests.oracle.random_checkpoint import CONFIGS, random_tensors
from tests.sharding.checkpoint.files import (
    WIDE_GEMMA3,
    expected_parameters,
    gguf_tensors,
    plain,
    write_gguf,
    write_huggingface,
)


def abstract(checkpoint: Checkpoint, devices: int, dtype: DTypeLike = jnp.float32) -> dict[str, Any]:
    """Plain arrays, as none of these checkpoints is quantised for the model."""
    return abstract_parameters(checkpoint.config, make_mesh(devices), dtype)


def assert_loaded(
    loaded: Mapping[str, Any], expected: Mapping[str, np.ndarray], wanted: Mapping[str, jax.ShapeDtypeStruct]
) -> None:
    assert loaded.keys() == expected.keys()
    for path, array in loaded.items():
        assert array.sharding == wanted[path].sharding
        assert len(array.addressable_shards) == len(wanted[path].sharding.device_set)
        for shard in array.addressable_shards:
            values = expected[path].astype(wanted[path].dtype)[shard.index]
            np.testing.assert_array_equal(np.asarray(shard.data), values, strict=True)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_device_holds_its_slice_of_a_hugging_face_checkpoint(
    tmp_path: Path, name: str, devices: int, dtype: DTypeLike
) -> None:
    tensors = random_tensors(CONFIGS[name], 2)
    checkpoint = open_checkpoint(write_huggingface(tmp_path, CONFIGS[name], tensors, shards=3))
    wanted = abstract(checkpoint, devices, dtype)
    assert_loaded(load(checkpoint, wanted), expected_parameters(CONFIGS[name], tensors), wanted)


def test_a_parameter_lies_in_memory_as_it_is_wanted(tmp_path: Path) -> None:
    tensors = random_tensors(WIDE_GEMMA3, 2)
    checkpoint = open_checkpoint(write_huggingface(tmp_path, WIDE_GEMMA3, tensors))
    wanted, path = abstract(checkpoint, 2), "layers.0.attention.o"
    spec, heads_first = wanted[path], Layout((1, 0, 2))
    wanted[path] = jax.ShapeDtypeStruct(spec.shape, spec.dtype, sharding=Format(heads_first, spec.sharding))
    loaded: dict[str, Any] = load(checkpoint, wanted)
    assert loaded[path].format.layout.major_to_minor == heads_first.major_to_minor
    assert_loaded(loaded, expected_parameters(WIDE_GEMMA3, tensors), wanted)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_every_device_holds_its_slice_of_a_quantised_gguf(tmp_path: Path, devices: int) -> None:
    """On four devices a device's columns of `attention.o` are a part of a block of Q4_K-sized 256 numbers."""
    tensors = random_tensors(WIDE_GEMMA3, 2)
    stored = gguf_tensors(WIDE_GEMMA3, tensors)
    rng = np.random.default_rng(3)
    types = {}
    for name, value in stored.items():
        if value.ndim == 2:
            types[name] = Type.Q6_K if "attn_output" in name else Type.Q8_0
            block, block_bytes = gguf.GGML_QUANT_SIZES[types[name]]
            stored[name] = rng.integers(0, 60, (len(value), value.shape[1] // block * block_bytes), np.uint8)
    checkpoint = open_checkpoint(write_gguf(tmp_path / "model.gguf", WIDE_GEMMA3, stored, types))
    whole = {path: plain(source).read(()) for path, source in checkpoint.tensors.items()}
    wanted = abstract(checkpoint, devices)
    assert_loaded(load(checkpoint, wanted), whole, wanted)


@pytest.fixture(name="checkpoint")
def small_checkpoint(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(write_huggingface(tmp_path, CONFIGS["gemma-mqa"], random_tensors(CONFIGS["gemma-mqa"], 2)))


def test_progress_counts_bytes_up_to_the_final_size(checkpoint: Checkpoint) -> None:
    reports: list[tuple[str, int, int]] = []
    loaded: dict[str, Any] = load(checkpoint, abstract(checkpoint, 2), lambda *report: reports.append(report))
    size = sum(array.nbytes for array in loaded.values())
    assert [path for path, _, _ in reports] == list(loaded)
    assert [done for _, done, _ in reports] == np.cumsum([array.nbytes for array in loaded.values()]).tolist()
    assert {total for _, _, total in reports} == {size}


def test_without_a_sharding_a_parameter_goes_to_the_default_device(checkpoint: Checkpoint) -> None:
    wanted = {path: jax.ShapeDtypeStruct(source.shape, jnp.float32) for path, source in checkpoint.tensors.items()}
    loaded: dict[str, Any] = load(checkpoint, wanted)
    assert {device for array in loaded.values() for device in array.devices()} == {jax.devices()[0]}


def test_a_parameter_that_the_checkpoint_lacks_is_named(checkpoint: Checkpoint) -> None:
    wanted = abstract(checkpoint, 1)
    wanted["layers.0.bias"] = wanted["final_norm"]
    with pytest.raises(CheckpointError, match=rf"{checkpoint.path}: the model's parameter layers\.0\.bias is missing"):
        load(checkpoint, wanted)


def test_a_tensor_that_the_model_lacks_is_named(checkpoint: Checkpoint) -> None:
    wanted = abstract(checkpoint, 1)
    del wanted["layers.0.mlp.up"]
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: tensor model\.layers\.0\.mlp\.up_proj\.weight .* no parameter"
    ):
        load(checkpoint, wanted)


def test_a_shape_that_is_not_the_models_is_named(checkpoint: Checkpoint) -> None:
    wider = abstract_parameters(replace(checkpoint.config, mlp_dim=256), make_mesh(1), jnp.float32)
    with pytest.raises(
        CheckpointError,
        match=r"mlp\.gate_proj\.weight gives layers\.0\.mlp\.gate the shape \(128, 64\); the model's is \(256, 64\)",
    ):
        load(checkpoint, wider)
