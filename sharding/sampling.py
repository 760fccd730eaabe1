"""Drawing the next token, on the device: greedy, temperature, top-k, top-p, min-p, and log probabilities.

What changes the logits comes first, in `adjustment.py`. All three truncations are of the distribution of the
temperature, and a token that any of them leaves out is not drawn: as in transformers and, but that min-p (arXiv
2407.01082) goes before top-p there, in vLLM; in llama.cpp the temperature comes last.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sharding.adjustment import adjusted
from sharding.draw import Draw
from sharding.kept import Kept
from sharding.top_k import top_k
from sharding.truncation import lowest_kept


class Drawn(NamedTuple):
    """Tokens drawn, with log probabilities of the model's own distribution (before biases, penalties,
    temperature and truncation, as of vLLM's `raw_logprobs`).

    Attributes:
      token_ids: int32 [B].
      logprobs: float32 [B]; this and what follows is zero if no row wants it.
      top_ids: int32 [B, L], the most likely tokens, most likely first.
      top_logprobs: float32 [B, L].
    """

    token_ids: jax.Array
    logprobs: jax.Array
    top_ids: jax.Array
    top_logprobs: jax.Array


def sample(
    logits: jax.Array, draw: Draw, kept: Kept[jax.Array], max_logprobs: int, targets: jax.Array | None = None
) -> Drawn:
    """Draws one token per row.

    Args:
      logits: float32 [B, V].
      draw: how.
      kept: of the sequences.
      max_logprobs: L, how many of the most likely tokens to report.
      targets: int32 [B]; tokens that are taken instead of drawn ones, unless the logits are not numbers; negative for
        none.
    """
    adjusts = jnp.any((draw.has_penalties != 0) | (draw.num_biases > 0))
    token_ids = lax.cond(
        adjusts | jnp.any(draw.temperature > 0), _draw, lambda logits, *_: _argmax(logits), logits, draw, kept, adjusts
    )
    if targets is not None:
        token_ids = jnp.where((targets < 0) | (token_ids >= logits.shape[-1]), token_ids, targets)

    def logprobs() -> Drawn:
        total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        top, top_ids = top_k(logits, max_logprobs)
        own = jnp.take_along_axis(logits, token_ids[:, None], axis=-1)
        return Drawn(token_ids, (own - total)[:, 0], top_ids, top - total)

    def nothing() -> Drawn:
        shape = (*token_ids.shape, max_logprobs)
        return Drawn(token_ids, jnp.zeros(shape[0]), jnp.zeros(shape, jnp.int32), jnp.zeros(shape))

    result: Drawn = lax.cond(jnp.any(draw.wants_logprobs != 0), logprobs, nothing)
    return result


def _argmax(x: jax.Array) -> jax.Array:
    """The first index of the maximum over V; V where a row has NaN.

    Two plain reductions, which XLA splits over devices and vectorises on CPUs, unlike `jnp.argmax`.
    """
    vocab_size = x.shape[-1]
    indices = lax.broadcasted_iota(jnp.int32, x.shape, 1)
    return jnp.where(x == x.max(-1, keepdims=True), indices, vocab_size).min(-1)


def _draw(logits: jax.Array, draw: Draw, kept: Kept[jax.Array], adjusts: jax.Array) -> jax.Array:
    """Draws by the Gumbel-max trick: the argmax of logits plus Gumbel noise is a sample of their softmax."""
    drawn = (draw.temperature > 0)[:, None]  # the other rows are greedy: without noise
    temperature = jnp.where(drawn, draw.temperature[:, None], 1)

    def scaled() -> jax.Array:
        return logits / temperature

    def adjusted_and_scaled() -> jax.Array:
        quotient: jax.Array = lax.optimization_barrier(adjusted(logits, draw, kept) / temperature)
        return quotient

    # No branch returns the logits as they are: XLA would copy them. Without the barrier it divides behind both.
    logits = lax.cond(adjusts, adjusted_and_scaled, scaled)
    everything = jnp.full(logits.shape[:1], -jnp.inf)
    top_k, top_p, min_p = (
        jnp.where(drawn[:, 0], value, neutral) for value, neutral in ((draw.top_k, 0), (draw.top_p, 1), (draw.min_p, 0))
    )
    lowest = lax.cond(jnp.any((top_k > 0) | (top_p < 1)), lowest_kept, lambda *_: everything, logits, top_k, top_p)

    @jax.named_scope("min_p")
    def by_min_p() -> jax.Array:
        return logits.max(-1) + jnp.log(min_p)

    lowest = jnp.maximum(lowest, lax.cond(jnp.any(min_p > 0), by_min_p, lambda: everything))

    def noise(seed: jax.Array, position: jax.Array) -> jax.Array:
        return jax.random.gumbel(jax.random.fold_in(jax.random.key(seed), position), logits.shape[1:])

    noisy = logits + jnp.where(drawn, jax.vmap(noise)(draw.seed, draw.positions), 0)
    return _argmax(jnp.where(logits < lowest[:, None], -jnp.inf, noisy))
