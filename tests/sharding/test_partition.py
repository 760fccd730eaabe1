"""Which parameter is split how, and which degrees of parallelism are refused."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from sharding.attention import ReferenceAttention
from sharding.cache import abstract_cache
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.quantization import Quantization
from sharding.sizes import (
    check_tensor_parallel,
    heads_per_device,
    kv_bytes_per_token,
    num_parameters,
    weight_bytes,
)
from tests.sharding.small_models import LOCAL, MHA, MQA


@pytest.mark.parametrize("config", [CODEGEMMA_2B, CODEGEMMA_7B], ids=["2b", "7b"])
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_codegemma_spans_up_to_eight_devices(config: GemmaConfig, devices: int) -> None:
    check_tensor_parallel(config, devices)


def test_a_degree_that_does_not_divide_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(ValueError, match=r"tensor_parallel=3.*heads 8 = 3 x 2 \+ 2.*Choose one of 1, 2, 4, 8"):
        check_tensor_parallel(CODEGEMMA_2B, 3)


def test_kv_heads_that_no_device_would_hold_whole_are_refused() -> None:
    config = replace(CODEGEMMA_2B, num_heads=12, num_kv_heads=6)
    with pytest.raises(ValueError, match=r"KV heads 6: neither of 6 and 4"):
        check_tensor_parallel(config, 4)


def test_more_devices_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tensor_parallel=16, but JAX sees 8 cpu device"):
        make_mesh(16)


def test_heads_mlp_and_vocabulary_are_split() -> None:
    parameters = abstract_parameters(MHA, make_mesh(4), jnp.float32)
    specs = {path: spec.sharding.spec for path, spec in parameters.items() if isinstance(spec, jax.ShapeDtypeStruct)}
    assert specs["embedder.weight"] == P("tensor", None)
    assert specs["layers.0.attention.q"] == P("tensor", None, None)
    assert specs["layers.0.attention.k"] == P("tensor", None, None)
    assert specs["layers.0.attention.o"] == P(None, "tensor", None)
    assert specs["layers.0.mlp.gate"] == P("tensor", None)
    assert specs["layers.0.mlp.down"] == P(None, "tensor")
    assert specs["layers.0.pre_mlp_norm"] == P(None)


def test_too_few_kv_heads_are_replicated() -> None:
    spec = abstract_parameters(MQA, make_mesh(4), jnp.float32)["layers.0.attention.k"]
    assert isinstance(spec, jax.ShapeDtypeStruct)
    assert spec.sharding.spec == P(None, None, None)
    assert heads_per_device(MQA, 4) == (2, 1)
    assert heads_per_device(replace(MQA, num_kv_heads=4), 2) == (4, 2)


@pytest.mark.parametrize("quantization", [None, *Quantization])
@pytest.mark.parametrize("config", [CODEGEMMA_2B, CODEGEMMA_7B, LOCAL], ids=["2b", "7b", "gemma3"])
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_sizes_are_those_of_the_shards(config: GemmaConfig, devices: int, quantization: Quantization | None) -> None:
    def shard_bytes(spec: jax.ShapeDtypeStruct) -> int:
        bits = 4 if spec.dtype == jnp.int4 else 8 * spec.dtype.itemsize
        size: int = math.prod(spec.sharding.shard_shape(spec.shape)) * bits // 8
        return size

    config, mesh = config.quantised(quantization), make_mesh(devices)
    parameters = abstract_parameters(config, mesh, jnp.bfloat16)
    assert weight_bytes(config, devices, 2) == sum(map(shard_bytes, jax.tree.leaves(parameters)))
    cache = abstract_cache(ReferenceAttention(), config, mesh, jnp.dtype(jnp.bfloat16), num_pages=3, page_size=8)
    assert kv_bytes_per_token(config, devices, 2) * 24 == sum(map(shard_bytes, cache))


def test_the_bytes_of_codegemma_in_few_bits() -> None:
    parameters = num_parameters(CODEGEMMA_7B)
    assert weight_bytes(CODEGEMMA_7B.quantised("int8"), 1, 2) == pytest.approx(parameters, rel=0.002)
    embeddings = CODEGEMMA_7B.vocab_size * CODEGEMMA_7B.embed_dim  # of one byte each
    expected = embeddings + (parameters - embeddings) * (4 / 8 + 4 / 32)
    assert weight_bytes(CODEGEMMA_7B.quantised("int4"), 1, 2) == pytest.approx(expected, rel=0.002)


def test_groups_that_no_device_would_hold_whole_are_refused() -> None:
    config = replace(CODEGEMMA_2B, mlp_dim=160)
    check_tensor_parallel(config, 2)
    with pytest.raises(ValueError, match=r"groups of MLP width 5 = 2 x 2 \+ 1"):
        check_tensor_parallel(config.quantised("int4"), 2)
