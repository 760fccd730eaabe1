"""Attention over the paged KV cache: one protocol, one implementation per kind of device."""

from functools import partial

import jax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from sharding.attention.protocol import Attention, AttentionImplementation, Ragged
from sharding.attention.reference import ReferenceAttention
from sharding.config import GemmaConfig
from sharding.mesh import TENSOR
from sharding.partition import partition_spec

__all__ = [
    "CACHE_SPEC",
    "Attention",
    "AttentionImplementation",
    "Ragged",
    "ReferenceAttention",
    "attention_for",
    "over_mesh",
]

CACHE_SPEC = PartitionSpec(None, None, TENSOR)
"""How a layer's cache is split over the devices: by KV head; see `AttentionImplementation.cache_shape`."""


def attention_for(platform: str) -> AttentionImplementation:
    """Returns the implementation for a JAX platform: `cpu`, `gpu`, `tpu`."""
    if platform == "tpu":
        from sharding.attention.tpu import TokamaxAttention  # tokamax is installed where there are TPUs

        return TokamaxAttention()
    if platform == "gpu":
        from sharding.attention.gpu import TritonAttention  # importing it takes time that others need not spend

        return TritonAttention()
    return ReferenceAttention()


def over_mesh(attention: Attention, config: GemmaConfig, mesh: Mesh) -> Attention:
    """Returns attention over all heads of the model: each device runs `attention` on its own."""
    devices = mesh.shape[TENSOR]
    heads = partition_spec(("T", "N", "D"), config, mesh)
    kv_heads = partition_spec(("T", "K", "D"), config, mesh)

    @partial(jax.jit, static_argnames=("scale", "window"))  # traced once for all layers alike, not for each
    def attend(
        q: jax.Array,
        k: jax.Array,
        v: jax.Array,
        cache: jax.Array,
        ragged: Ragged,
        *,
        scale: float,
        window: int | None,
    ) -> tuple[jax.Array, jax.Array]:
        def on_device(
            q: jax.Array, k: jax.Array, v: jax.Array, cache: jax.Array, ragged: Ragged
        ) -> tuple[jax.Array, jax.Array]:
            if config.num_kv_heads < devices:  # k and v are replicated: keep the head that this device's queries read
                head = lax.axis_index(TENSOR) * config.num_kv_heads // devices
                k, v = (lax.dynamic_slice_in_dim(x, head, 1, axis=1) for x in (k, v))
            return attention(q, k, v, cache, ragged, scale=scale, window=window)

        return jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(heads, kv_heads, kv_heads, CACHE_SPEC, PartitionSpec()),
            out_specs=(heads, CACHE_SPEC),
            check_vma=False,
        )(q, k, v, cache, ragged)

    return attend
