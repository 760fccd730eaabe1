"""The paged KV cache: one array per layer, `[P, page_size, 2 * K, D]`, keys and values interleaved: K0, V0, K1, ...

It is the layout of `tokamax.ops.ragged_paged_attention`. A page holds `page_size` consecutive positions of one
sequence; which page holds which is the caller's business and comes with every step as a page table.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from sharding.config import GemmaConfig
from sharding.mesh import TENSOR
from sharding.sizes import heads_per_device

if TYPE_CHECKING:
    from sharding.attention.protocol import Ragged  # at run time it imports this module

CACHE_SPEC = PartitionSpec(None, None, TENSOR, None)


def abstract_cache(
    config: GemmaConfig, mesh: Mesh, dtype: DTypeLike, num_pages: int, page_size: int
) -> list[jax.ShapeDtypeStruct]:
    """Returns shape, dtype and sharding of each layer's cache.

    It is `[P, page_size, 2 * K, D]`, split over the devices by KV head.
    With fewer KV heads than devices, the axis has one KV head for each device; see `sharding.partition`.
    """
    devices = mesh.shape[TENSOR]
    kv_heads = heads_per_device(config, devices)[1] * devices
    shape = (num_pages, page_size, 2 * kv_heads, config.head_dim)
    return [jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, CACHE_SPEC))] * config.num_layers


def new_cache(abstract: Sequence[jax.ShapeDtypeStruct]) -> list[jax.Array]:
    """Returns an empty cache as `abstract_cache` describes it."""
    return [jnp.zeros(layer.shape, layer.dtype, device=layer.sharding) for layer in abstract]


def write_kv(cache: jax.Array, k: jax.Array, v: jax.Array, ragged: "Ragged") -> jax.Array:
    """Writes the keys and values of a step, `[T, K, D]` each, to their places; padding tokens go nowhere."""
    num_tokens, kv_heads, head_dim = k.shape
    num_pages, page_size = cache.shape[:2]
    rows = ragged.token_rows(num_tokens)
    positions = ragged.positions(num_tokens)
    pages = ragged.page_table.at[rows, positions // page_size].get(mode="fill", fill_value=num_pages)
    interleaved = jnp.stack([k, v], axis=2).reshape(num_tokens, 2 * kv_heads, head_dim)
    return cache.at[pages, positions % page_size].set(interleaved.astype(cache.dtype), mode="drop")
