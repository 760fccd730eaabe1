"""Drawing the next token, on the device: greedy, temperature, top-k, top-p, and log probabilities."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sharding.top_k import top_k
from sharding.truncation import lowest_kept


class Draw(NamedTuple):
    """How to draw each row's token. A draw depends on the row's logits and on its parameters here, nothing else.

    Attributes:
      positions: int32 [B], of the tokens to draw in their sequences.
      temperature: float32 [B]; 0 is greedy.
      top_k: int32 [B]; 0 keeps all.
      top_p: float32 [B]; 1 keeps all.
      seed: uint32 [B].
      wants_logprobs: int32 [B]; not 0 where log probabilities are asked for.
    """

    positions: jax.Array
    temperature: jax.Array
    top_k: jax.Array
    top_p: jax.Array
    seed: jax.Array
    wants_logprobs: jax.Array


class Drawn(NamedTuple):
    """Tokens drawn, with log probabilities of the model's own distribution (before temperature, top-k and top-p).

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


def sample(logits: jax.Array, draw: Draw, max_logprobs: int, targets: jax.Array | None = None) -> Drawn:
    """Draws one token per row.

    Args:
      logits: float32 [B, V].
      draw: how.
      max_logprobs: L, how many of the most likely tokens to report.
      targets: int32 [B]; tokens that are taken instead of drawn ones, unless the logits are not numbers; negative for
        none.
    """
    token_ids = lax.cond(jnp.any(draw.temperature > 0), _draw, lambda logits, _: _argmax(logits), logits, draw)
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


def _draw(logits: jax.Array, draw: Draw) -> jax.Array:
    """Draws by the Gumbel-max trick: the argmax of logits plus Gumbel noise is a sample of their softmax."""
    drawn = (draw.temperature > 0)[:, None]  # the other rows are greedy: without noise
    logits = logits / jnp.where(drawn, draw.temperature[:, None], 1)
    everything = jnp.full(logits.shape[:1], -jnp.inf)
    top_k, top_p = jnp.where(drawn[:, 0], draw.top_k, 0), jnp.where(drawn[:, 0], draw.top_p, 1)
    lowest = lax.cond(jnp.any((top_k > 0) | (top_p < 1)), lowest_kept, lambda *_: everything, logits, top_k, top_p)

    def noise(seed: jax.Array, position: jax.Array) -> jax.Array:
        return jax.random.gumbel(jax.random.fold_in(jax.random.key(seed), position), logits.shape[1:])

    noisy = logits + jnp.where(drawn, jax.vmap(noise)(draw.seed, draw.positions), 0)
    return _argmax(jnp.where(logits < lowest[:, None], -jnp.inf, noisy))
