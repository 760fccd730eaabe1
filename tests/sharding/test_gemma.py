"""The model against a dense one in NumPy, and its parameters."""

from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sharding.batch import Bucket
from sharding.config import GemmaConfig
from sharding.gemma import Embedder, Layer, abstract_parameters, build, rms_norm
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.steps import compile_steps
from tests.sharding.small_models import (
    LIMITS,
    LOCAL,
    MHA,
    MIXED,
    MQA,
    dense_logits,
    host_parameters,
    make_runner,
    relative_error,
    row,
    sharded_parameters,
)

TOKENS = [int(token) for token in np.random.default_rng(0).integers(0, 128, 30)]
PAGES = [9, 3, 17, 4]


@pytest.mark.parametrize("config", [MQA, MHA, LOCAL], ids=["mqa", "mha", "local"])
def test_logits_equal_those_of_a_dense_model(config: GemmaConfig) -> None:
    expected = dense_logits(config, host_parameters(config), TOKENS)
    runner = make_runner(config, buckets=MIXED)
    for length in (1, 8, 17, 30):
        (logits,) = runner.logits([row(TOKENS[:length], 0, PAGES)])
        assert relative_error(logits, expected[length - 1]) < 1e-5, length


@pytest.mark.parametrize("config", [MQA, MHA, LOCAL], ids=["mqa", "mha", "local"])
def test_decoding_token_by_token_equals_a_dense_model(config: GemmaConfig) -> None:
    expected = dense_logits(config, host_parameters(config), TOKENS)
    runner = make_runner(config, buckets=MIXED)
    for position, token in enumerate(TOKENS):
        (logits,) = runner.logits([row([token], position, PAGES)])
        assert relative_error(logits, expected[position]) < 1e-5, position


def test_bfloat16_stays_close_to_a_dense_model_with_the_same_weights() -> None:
    parameters = {path: value.astype(jnp.bfloat16) for path, value in sharded_parameters(LOCAL, 1).items()}
    rounded = {path: np.asarray(value.astype(jnp.float32)) for path, value in parameters.items()}
    expected = dense_logits(LOCAL, rounded, TOKENS)
    limits = replace(LIMITS, max_rows=2, max_step_tokens=16)
    runner = ModelRunner(parameters, compile_steps(LOCAL, make_mesh(1), jnp.bfloat16, limits))
    for start, end in ((0, 16), (16, 28), (28, 29), (29, 30)):
        (logits,) = runner.logits([row(TOKENS[start:end], start, PAGES)])
        assert relative_error(logits, expected[end - 1]) < 0.02  # bfloat16 has steps of 0.004 to 0.008


def test_the_embedding_scale_is_rounded_to_the_dtype() -> None:
    embedder = Embedder(jnp.ones((4, 3072), jnp.bfloat16))
    assert float(embedder.encode(jnp.array([1]))[0, 0]) == 55.5  # sqrt(3072) is 55.43


def test_a_norm_in_bfloat16_is_rounded_once_at_the_end() -> None:
    x = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=64).astype(np.float32)
    x16, weight16 = jnp.asarray(x, jnp.bfloat16), jnp.asarray(weight, jnp.bfloat16)
    exact = rms_norm(x16.astype(jnp.float32), weight16.astype(jnp.float32), 1e-6)
    assert (rms_norm(x16, weight16, 1e-6) == exact.astype(jnp.bfloat16)).all()


def test_parameters_that_do_not_fit_are_named() -> None:
    parameters = sharded_parameters(MQA, 1)
    parameters["layers.9.mlp.up"] = parameters.pop("layers.1.mlp.up")
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up.*layers\.9\.mlp\.up"):
        build(MQA, parameters)


def test_optional_norms_are_parameters_of_gemma_3_only() -> None:
    mesh = make_mesh(1)
    extra = set(abstract_parameters(LOCAL, mesh, jnp.float32)) - set(abstract_parameters(MQA, mesh, jnp.float32))
    names = {"attention.q_norm", "attention.k_norm", "post_attention_norm", "post_mlp_norm"}
    assert extra == {f"layers.{layer}.{name}" for layer in range(2) for name in names}


def test_layers_that_are_alike_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[int | None] = []
    init = Layer.__init__

    def count(layer: Layer, config: GemmaConfig, window: int | None, weights: Mapping[str, jax.Array]) -> None:
        traced.append(window)
        init(layer, config, window, weights)

    monkeypatch.setattr(Layer, "__init__", count)
    config = replace(LOCAL, num_layers=6, vocab_size=64)
    compile_steps(config, make_mesh(1), jnp.float32, LIMITS, buckets=[Bucket(16, 4, 8)])
    assert sorted(traced, key=str) == [8, None]


def test_more_than_ten_layers_keep_their_order() -> None:
    config = replace(MQA, num_layers=12)
    abstract = abstract_parameters(config, make_mesh(1), jnp.float32)
    parameters = {
        path: jnp.full(parameter.shape, int(path.split(".")[1]) if path.startswith("layers.") else -1, jnp.float32)
        for path, parameter in abstract.items()
    }
    layers = build(config, parameters).layers
    assert [float(jnp.asarray(layer["pre_mlp_norm"])[0]) for layer in layers] == list(range(12))
