"""The paged KV cache: one array per layer, in the layout that the attention implementation reads without copies.

A page holds `page_size` consecutive positions of one sequence; which page holds which is the caller's business and
comes with every step as a page table.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.typing import DTypeLike

from sharding.attention import CACHE_SPEC, AttentionImplementation
from sharding.config import GemmaConfig
from sharding.mesh import TENSOR
from sharding.sizes import heads_per_device


def abstract_cache(
    attention: AttentionImplementation,
    config: GemmaConfig,
    mesh: Mesh,
    dtype: DTypeLike,
    num_pages: int,
    page_size: int,
) -> list[jax.ShapeDtypeStruct]:
    """Returns shape, dtype and sharding of each layer's cache.

    It is what `attention` makes of it on one device, side by side for all devices, each with its own KV heads. With
    fewer KV heads than devices, every device has one; see `sharding.partition`.
    """
    devices = mesh.shape[TENSOR]
    kv_heads = heads_per_device(config, devices)[1]
    pages, page, heads, *rest = attention.cache_shape(num_pages, page_size, kv_heads, config.head_dim, dtype)
    sharding = NamedSharding(mesh, CACHE_SPEC)
    return [jax.ShapeDtypeStruct((pages, page, heads * devices, *rest), dtype, sharding=sharding)] * config.num_layers


def new_cache(abstract: Sequence[jax.ShapeDtypeStruct]) -> list[jax.Array]:
    """Returns an empty cache as `abstract_cache` describes it."""
    return [jnp.zeros(layer.shape, layer.dtype, device=layer.sharding) for layer in abstract]
