"""What the TPU's attention relies on in tokamax, and how its kernels divide their work."""

import math

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokamax._src.ops.batched_rpa.kernel.wrapper import get_kv_cache_shape

from sharding.attention.tpu import TokamaxAttention
from sharding.attention.tpu.blocks import step_blocks

MIB = 1 << 20


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.int8])
@pytest.mark.parametrize("kv_heads", [1, 2, 4, 16])
def test_the_cache_has_the_shape_that_is_native_to_the_kernel(kv_heads: int, dtype: jnp.dtype) -> None:
    shape = TokamaxAttention().cache_shape(100, 32, kv_heads, 256, dtype)
    assert shape == get_kv_cache_shape(100, 32, kv_heads, 256, jnp.dtype(dtype))


def test_a_chip_holds_no_more_of_the_cache_than_its_keys_and_values() -> None:
    assert math.prod(TokamaxAttention().cache_shape(100, 32, 4, 256, jnp.bfloat16)) == 100 * 32 * 2 * 4 * 256


@given(st.sampled_from([1024 * 2**i for i in range(6)]), st.sampled_from([8, 16, 32, 64, 128, 256]))
def test_blocks_fit_their_part_of_vmem_and_smem(kv_bytes: int, page_size: int) -> None:
    blocks = step_blocks(MIB, kv_bytes, page_size)
    held = blocks.decode.rows * blocks.decode.keys * kv_bytes
    assert blocks.vmem_limit_bytes is not None
    assert blocks.decode.buffers * held <= blocks.vmem_limit_bytes
    assert held <= max(4 * MIB, 256 * kv_bytes)
    assert blocks.decode.rows * blocks.decode.keys <= 128 * page_size
    assert blocks.decode.keys % 128 == 0


def test_a_decoding_row_waits_for_about_a_mebibyte_at_a_time_however_many_heads_there_are() -> None:
    assert [step_blocks(MIB, kv_bytes, 32).decode[2:4] for kv_bytes in (1024, 2048, 4096)] == [
        (512, 8),
        (256, 8),
        (256, 4),
    ]


def test_a_step_with_large_activations_leaves_the_kernels_all_of_vmem() -> None:
    limits = [step_blocks(size * MIB, 1024, 32).vmem_limit_bytes for size in (1, 2, 4)]
    assert limits == [32 * MIB, 32 * MIB, None]
