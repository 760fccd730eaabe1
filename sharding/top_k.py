"""The k largest of many numbers, without sorting all of them."""

import jax
import jax.numpy as jnp
from jax import lax

_CHUNK = 512
"""Numbers of which all or none are looked at more closely."""


def top_k(x: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Returns the k largest of each row, largest first, and their indices; of equal ones the first come first.

    They lie in the k chunks with the largest maxima, so accelerators sort those instead of everything. XLA's GPU
    programs then call no library to sort, and CUDA can run them as a whole, branches and loops included.

    Args:
      x: float32 [B, N].
      k: at most N.

    Returns:
      [B, k] and int32 [B, k].
    """
    rows, size = x.shape
    if size % _CHUNK or size <= 2 * k * _CHUNK:
        numbers, indices = lax.top_k(x, k)
        return numbers, indices
    chunks = x.reshape(rows, -1, _CHUNK)
    _, chosen = lax.top_k(chunks.max(-1), k)
    chosen = jnp.sort(chosen)[..., None]  # so that of equal numbers the first ones still come first
    numbers, positions = lax.top_k(jnp.take_along_axis(chunks, chosen, axis=1).reshape(rows, -1), k)
    indices = (chosen * _CHUNK + jnp.arange(_CHUNK, dtype=jnp.int32)).reshape(rows, -1)
    return numbers, jnp.take_along_axis(indices, positions, axis=-1)
