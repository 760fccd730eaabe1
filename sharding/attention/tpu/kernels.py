"""tokamax's kernels of ragged paged attention, only those that a step can need.

`tokamax.ops.ragged_paged_attention` has three: for rows with one token, for whole prompts, and for any other row. It
runs all three in every step, and compiling them is most of what compiling a step takes. So the same kernels are called
here as its own wrapper calls them (tokamax/_src/ops/batched_rpa/kernel/wrapper.py), without those that have no rows.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu
from tokamax._src.ops.batched_rpa.kernel import kernel, schedule, wrapper
from tokamax._src.ops.batched_rpa.kernel.configs import (
    BlockSizes,
    ModelConfigs,
    RpaCase,
    RpaConfigs,
    ServingConfigs,
)

from sharding.attention.protocol import Ragged


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    cache: jax.Array,
    ragged: Ragged,
    ends: jax.Array,
    *,
    scale: float,
    window: int | None,
    blocks: Mapping[RpaCase, BlockSizes],
    vmem_limit_bytes: int | None,
) -> tuple[jax.Array, jax.Array]:
    """Runs a kernel for each case in `blocks`, one after another.

    Args:
      q: as of `sharding.attention.Attention`, like `k`, `v`, `cache`, `ragged`, `scale` and `window`.
      k: see `q`.
      v: see `q`.
      cache: see `q`.
      ragged: see `q`.
      ends: int32 [3]; before which row the rows of the cases decode, prefill and mixed end, in this order.
      scale: see `q`.
      window: see `q`.
      blocks: how the kernel of each case that has rows divides them.
      vmem_limit_bytes: what a kernel may take; None: all of VMEM.

    Returns:
      The output [T, N, D] and the new cache.
    """
    model = ModelConfigs(
        num_q_heads=q.shape[1],
        num_kv_heads=k.shape[1],
        head_dim=q.shape[2],
        sliding_window=window,
        sm_scale=scale,
        soft_cap=None,
        mask_value=float(jnp.finfo(q.dtype).min),  # type: ignore[no-untyped-call]
    )
    page_table = ragged.page_table.reshape(-1)
    serving = ServingConfigs(
        num_seqs=ragged.kv_lens.size,
        page_size=cache.shape[1],
        total_q_tokens=q.shape[0],
        num_page_indices=page_table.size,
        dtype_q=q.dtype,
        dtype_kv=cache.dtype,
        dtype_out=q.dtype,
    )
    new_lens = ragged.q_lens
    old_lens = ragged.kv_lens - new_lens
    out, kv = wrapper.prepare_inputs(q, k, v, q.dtype, cache.dtype)
    for case, sizes in blocks.items():
        config = RpaConfigs(
            block=sizes,
            model=model,
            serve=serving,
            mode=case,
            vmem_limit_bytes=vmem_limit_bytes or pltpu.get_tpu_info().vmem_capacity_bytes,
        )
        config.validate_inputs(
            q=q,
            k=k,
            v=v,
            kv_cache=cache,
            kv_lens=ragged.kv_lens,
            page_indices=page_table,
            cu_q_lens=ragged.cu_q_lens,
            distribution=ends,
        )
        # Queries begin where the old tokens end, hence the same array twice.
        lens = (ragged.cu_q_lens, old_lens, old_lens, new_lens)
        plan = schedule.generate_rpa_metadata(*lens, ends, cfgs=config)
        out, cache, _ = kernel.rpa_kernel(*lens, page_table, plan, out, kv, cache, None, cfgs=config)
    out = wrapper.prepare_outputs(out)[:, :, : q.shape[1] // k.shape[1], : q.shape[2]]
    return out.swapaxes(0, 1).reshape(q.shape), cache
