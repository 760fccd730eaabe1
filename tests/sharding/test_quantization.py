"""Quantised weights: what they stand for, what is multiplied with them, and on how many devices."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.typing import DTypeLike

from sharding.checkpoint import Checkpoint, open_checkpoint
from sharding.checkpoint.huggingface.writer import write_huggingface
from sharding.checkpoint.loader import load
from sharding.config import GemmaConfig
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.parameters import parameters
from sharding.partition import named_sharding
from sharding.projection import project
from sharding.quantise import quantise
from sharding.quantization import GROUP, Quantization
from sharding.runner import ModelRunner
from sharding.steps import compile_steps
from sharding.weights import QuantisedWeight, Weight, dequantise
from tests.oracle.random_checkpoint import random_tensors
from tests.sharding.checkpoint.files import WIDE, WIDE_GEMMA3
from tests.sharding.checkpoint.files import write_huggingface as write_source
from tests.sharding.small_models import LIMITS, dense_logits, relative_error, row

ALL = list(Quantization)
ONE_ROW = replace(LIMITS, max_rows=1, max_step_tokens=16)
TOKENS = [int(token) for token in np.random.default_rng(0).integers(0, 96, 20)]
PAGES = [9, 3, 17]


def quantised(matrix: np.ndarray, quantization: Quantization) -> QuantisedWeight[jax.Array]:
    values, scales = quantise(matrix, quantization)
    return QuantisedWeight(jnp.asarray(values), jnp.asarray(scales), quantization, np.dtype(np.float32))


def dense(weight: Weight) -> np.ndarray:
    if isinstance(weight, QuantisedWeight):
        return np.asarray(dequantise(weight.values, weight.scales, weight.dtype))
    return np.asarray(weight)


@settings(deadline=None)
@given(
    arrays(np.float32, (3, 2 * GROUP), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from(ALL),
)
def test_a_number_is_off_by_half_a_step_unless_it_is_clipped(matrix: np.ndarray, quantization: Quantization) -> None:
    weight = quantised(matrix, quantization)
    assert np.abs(np.asarray(weight.values, np.int32)).max() <= quantization.maximum
    steps = np.repeat(np.asarray(weight.scales).reshape(3, -1), GROUP if quantization.grouped else 64, 1)
    clipped = np.maximum(np.abs(matrix) - quantization.maximum * steps, 0)
    assert (np.abs(dense(weight) - matrix) <= np.maximum(0.5001 * steps, 1.0001 * clipped)).all()


def test_int4_clips_a_group_when_that_loses_less() -> None:
    matrix = np.random.default_rng(5).normal(size=(64, 4 * GROUP)).astype(np.float32)
    largest = np.abs(matrix).reshape(64, -1, GROUP).max(-1) / Quantization.INT4.maximum
    weight = quantised(matrix, Quantization.INT4)
    assert (np.asarray(weight.scales) <= largest).all()
    plain = np.rint(matrix.reshape(64, -1, GROUP) / largest[..., None]) * largest[..., None]
    assert np.square(dense(weight) - matrix).sum() < 0.95 * np.square(plain.reshape(matrix.shape) - matrix).sum()


@pytest.mark.parametrize("quantization", ALL)
def test_rows_of_zeros_stay_zeros(quantization: Quantization) -> None:
    assert (dense(quantised(np.zeros((4, 64), np.float32), quantization)) == 0).all()


@pytest.mark.parametrize("outputs", [24, 16384, 18000], ids=["one-block", "blocks", "blocks-of-odd-size"])
@pytest.mark.parametrize("tokens", [1, 2, 3, 40])
@pytest.mark.parametrize(
    ("quantization", "largest"),
    [
        (Quantization.INT8, 0.01),
        (Quantization.INT8_WEIGHTS, 4e-5),
        (Quantization.INT8_GROUPS, 1e-6),
        (Quantization.INT4, 1e-6),
    ],
)
def test_a_projection_is_that_of_the_numbers_it_stands_for(
    quantization: Quantization, largest: float, tokens: int, outputs: int
) -> None:
    rng = np.random.default_rng(1)
    weight = quantised(rng.normal(size=(outputs, 96)).astype(np.float32), quantization)
    x = rng.normal(size=(tokens, 96)).astype(np.float32)
    result = np.asarray(jax.jit(project)(weight, jnp.asarray(x)))
    assert relative_error(result, x @ dense(weight).T) < largest


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.INT8_WEIGHTS])
def test_integers_are_multiplied_exactly(quantization: Quantization) -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(-127, 128, (8200, 64)).astype(np.int8)
    weight = QuantisedWeight(jnp.asarray(values), jnp.ones(8200), quantization, np.dtype(np.float32))
    maximum = 127 if quantization is Quantization.INT8 else 127 * 256 + 127
    x = rng.integers(-maximum, maximum + 1, (5, 64))
    x[:, 0] = maximum
    expected = x @ values.T.astype(np.int64)
    result = np.asarray(jax.jit(project)(weight, jnp.asarray(x, jnp.float32)))
    np.testing.assert_allclose(result, expected, rtol=3e-7)


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.INT8_WEIGHTS])
def test_a_token_alone_gives_the_bits_that_it_gives_among_others(quantization: Quantization) -> None:
    rng = np.random.default_rng(3)
    weight = quantised(rng.normal(size=(8192, 64)).astype(np.float32), quantization)
    x = jnp.asarray(rng.normal(size=(50, 64)), jnp.float32)
    for tokens in (50, 17, 2):
        together = np.asarray(jax.jit(project)(weight, x[:tokens]))
        alone = np.asarray(jax.jit(project)(weight, x[1:2]))
        np.testing.assert_array_equal(together[1:2], alone)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_devices_add_up_their_parts_in_the_dtype_of_the_result(platform: str) -> None:
    weight = quantised(np.ones((16, 64), np.float32), Quantization.INT8_WEIGHTS)
    x = jnp.ones((8, 64), jnp.bfloat16)
    for dtype, name in ((jnp.bfloat16, "bf16"), (jnp.float32, "f32")):
        lowered = jax.jit(partial(project, dtype=dtype)).trace(weight, x).lower(lowering_platforms=(platform,))
        [product] = [line for line in lowered.as_text().splitlines() if "dot_general" in line]
        assert product.endswith(f"-> tensor<16x8x{name}>")


@pytest.fixture(name="checkpoint", scope="module")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    directory = tmp_path_factory.mktemp("source")
    return open_checkpoint(write_source(directory, WIDE_GEMMA3, random_tensors(WIDE_GEMMA3, seed=1)))


def load_quantised(checkpoint: Checkpoint, quantization: Quantization | None, devices: int = 1) -> dict[str, Weight]:
    checkpoint = checkpoint.quantised(quantization)
    return load(checkpoint, abstract_parameters(checkpoint.config, make_mesh(devices), jnp.float32))


def assert_same(loaded: Mapping[str, Weight], expected: Mapping[str, Weight]) -> None:
    assert loaded.keys() == expected.keys()
    for path in expected:
        for mine, theirs in zip(jax.tree.leaves(loaded[path]), jax.tree.leaves(expected[path]), strict=True):
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs), strict=True, err_msg=path)


@pytest.mark.parametrize("quantization", ALL)
@pytest.mark.parametrize("devices", [2, 4])
def test_any_number_of_devices_holds_the_same_numbers(
    checkpoint: Checkpoint, quantization: Quantization, devices: int
) -> None:
    loaded = load_quantised(checkpoint, quantization, devices)
    assert_same(loaded, load_quantised(checkpoint, quantization))
    down = loaded["layers.0.mlp.down"]
    assert isinstance(down, QuantisedWeight)
    assert down.values.addressable_shards[0].data.shape == (256, 128 // devices)


@pytest.mark.parametrize("quantization", ALL)
def test_norms_stay_as_they_are(checkpoint: Checkpoint, quantization: Quantization) -> None:
    exact = load_quantised(checkpoint, None)
    for path, weight in load_quantised(checkpoint, quantization).items():
        assert isinstance(weight, QuantisedWeight) == (dense(exact[path]).ndim > 1), path
        if "norm" in path:
            np.testing.assert_array_equal(np.asarray(weight), np.asarray(exact[path]))


def test_what_int8_keeps_in_higher_precision() -> None:
    config = CHECKPOINT_CONFIG.quantised("int8")
    kept = {
        path.rpartition(".")[2]
        for path, parameter in parameters(config).items()
        if parameter.quantization is Quantization.INT8_WEIGHTS
    }
    assert kept == {"weight", "o", "down"}


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.INT8_GROUPS, Quantization.INT4])
@pytest.mark.parametrize("config", [WIDE, WIDE_GEMMA3], ids=["gemma", "gemma3"])
def test_a_converted_checkpoint_gives_what_quantising_at_load_gives(
    tmp_path: Path, config: dict[str, Any], quantization: Quantization
) -> None:
    source = open_checkpoint(write_source(tmp_path / "source", config, random_tensors(config, seed=1)))
    target = tmp_path / "target"
    target.mkdir()
    progress: list[tuple[int, int]] = []
    write_huggingface(source.quantised(quantization), target, np.float32, lambda *step: progress.append(step), files=3)
    converted = open_checkpoint(target)
    assert converted.config == source.config.quantised(quantization)
    assert_same(load_quantised(converted, None), load_quantised(source, quantization))
    assert progress[-1][0] == progress[-1][1]
    size = sum(file.stat().st_size for file in target.glob("*.safetensors"))
    assert progress[-1][1] == pytest.approx(size, rel=0.05)


def test_weights_stored_in_8_bits_serve_both_kinds_of_activations(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_huggingface(checkpoint.quantised("int8-weights"), tmp_path, np.float32)
    written = open_checkpoint(tmp_path)
    for quantization in (Quantization.INT8, Quantization.INT8_WEIGHTS):
        assert_same(load_quantised(written, quantization), load_quantised(checkpoint, quantization))


@pytest.mark.parametrize("stored", [Quantization.INT8, Quantization.INT8_GROUPS, Quantization.INT4])
@pytest.mark.parametrize("devices", [1, 4])
def test_what_is_quantised_is_decoded_if_asked_so(
    tmp_path: Path, checkpoint: Checkpoint, stored: Quantization, devices: int
) -> None:
    write_huggingface(checkpoint.quantised(stored), tmp_path, np.float32)
    written = open_checkpoint(tmp_path)
    kept = load_quantised(written, None, devices)
    decoded = load(
        written.quantised("none"),
        abstract_parameters(written.quantised("none").config, make_mesh(devices), jnp.float32),
    )
    for path, weight in decoded.items():
        assert isinstance(weight, jax.Array)
        np.testing.assert_array_equal(np.asarray(weight), dense(kept[path]), err_msg=path)


def test_what_is_quantised_is_decoded_and_quantised_anew_in_another_way(tmp_path: Path, checkpoint: Checkpoint) -> None:
    for name in ("int8", "none"):
        (tmp_path / name).mkdir()
    write_huggingface(checkpoint.quantised("int8"), tmp_path / "int8", np.float32)
    decoded = open_checkpoint(tmp_path / "int8")
    write_huggingface(decoded.quantised("none"), tmp_path / "none", np.float32)
    anew = load_quantised(open_checkpoint(tmp_path / "none"), Quantization.INT4)
    assert_same(load_quantised(decoded, Quantization.INT4), anew)


def test_groups_that_do_not_divide_the_inputs_are_refused(tmp_path: Path) -> None:
    config = replace(CHECKPOINT_CONFIG, head_dim=40).quantised("int4")
    with pytest.raises(ValueError, match="int4 needs inputs in groups of 32, and this model has 40"):
        abstract_parameters(config, make_mesh(1), jnp.float32)


def runner(checkpoint: Checkpoint, quantization: Quantization, devices: int) -> ModelRunner:
    config = checkpoint.config.quantised(quantization)
    steps = compile_steps(config, make_mesh(devices), jnp.float32, ONE_ROW)
    return ModelRunner(load_quantised(checkpoint, quantization, devices), steps)


@pytest.mark.parametrize(
    ("quantization", "largest"),
    [
        (Quantization.INT8, 0.05),
        (Quantization.INT8_WEIGHTS, 2e-4),
        (Quantization.INT8_GROUPS, 1e-5),
        (Quantization.INT4, 2e-4),
    ],
)
def test_logits_are_those_of_a_dense_model_with_the_numbers_stood_for(
    checkpoint: Checkpoint, quantization: Quantization, largest: float
) -> None:
    weights = {path: dense(weight) for path, weight in load_quantised(checkpoint, quantization).items()}
    stood_for = {
        path: weight.reshape(parameter.shape)
        for (path, weight), parameter in zip(weights.items(), parameters(checkpoint.config).values(), strict=True)
    }
    expected = dense_logits(checkpoint.config, stood_for, TOKENS)
    model = runner(checkpoint, quantization, 1)
    for start, end in ((0, 15), (15, 19), (19, 20)):
        (logits,) = model.logits([row(TOKENS[start:end], start, PAGES)])
        assert relative_error(logits, expected[end - 1]) < largest


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.INT8_WEIGHTS])
@pytest.mark.parametrize("axes", ["FE", "EF"], ids=["outputs-split", "inputs-split"])
def test_a_projection_gives_the_same_bits_on_any_number_of_devices(quantization: Quantization, axes: str) -> None:
    rng = np.random.default_rng(4)
    weight = quantised(rng.normal(size=(1536, 1536)).astype(np.float32), quantization)
    x = rng.normal(size=(3, 1536)).astype(np.float32)
    results = []
    for devices in (1, 2, 4, 8):
        sharding = partial(named_sharding, config=CHECKPOINT_CONFIG, mesh=make_mesh(devices))
        spread = replace(
            weight,
            values=jax.device_put(weight.values, sharding(axes)),
            scales=jax.device_put(weight.scales, sharding(axes[0])),
        )
        x_spread = jax.device_put(x, sharding("T" + axes[1]))
        results.append(np.asarray(jax.jit(project, out_shardings=sharding("T" + axes[0]))(spread, x_spread)))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("quantization", Quantization)
def test_a_projection_has_the_dtype_of_activations_on_every_platform(
    quantization: Quantization, dtype: DTypeLike
) -> None:
    weight = quantised(np.ones((1536, 256), np.float32), quantization)
    traced = jax.jit(project).trace(weight, jax.ShapeDtypeStruct((3, 256), dtype))
    assert traced.out_info.dtype == dtype
    traced.lower(lowering_platforms=("cpu", "cuda", "tpu"))
    result = project(weight, jnp.ones((3, 256), dtype))
    np.testing.assert_allclose(result.astype(jnp.float32), 256, rtol=0.01)


@pytest.mark.parametrize("axes", ["FE", "EF"], ids=["outputs-split", "inputs-split"])
def test_groups_are_multiplied_on_any_number_of_devices(axes: str) -> None:
    rng = np.random.default_rng(6)
    weight = quantised(rng.normal(size=(1536, 256)).astype(np.float32), Quantization.INT8_GROUPS)
    x = rng.normal(size=(3, 256)).astype(np.float32)
    for devices in (2, 8):
        sharding = partial(named_sharding, config=CHECKPOINT_CONFIG, mesh=make_mesh(devices))
        spread = replace(
            weight,
            values=jax.device_put(weight.values, sharding(axes)),
            scales=jax.device_put(weight.scales, sharding(axes)),
        )
        x_spread = jax.device_put(x, sharding("T" + axes[1]))
        result = np.asarray(jax.jit(project, out_shardings=sharding("T" + axes[0]))(spread, x_spread))
        assert relative_error(result, x @ dense(weight).T) < 1e-6


def test_logits_do_not_depend_on_the_number_of_devices(checkpoint: Checkpoint) -> None:
    one, four = (runner(checkpoint, Quantization.INT8_WEIGHTS, devices) for devices in (1, 4))
    for start, end in ((0, 15), (15, 20)):
        rows = [row(TOKENS[start:end], start, PAGES)]
        assert relative_error(four.logits(rows), one.logits(rows)) < 5e-4  # attention sums in another order


CHECKPOINT_CONFIG = GemmaConfig(
    vocab_size=96, embed_dim=64, mlp_dim=128, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=32, query_scale=1.0
)
