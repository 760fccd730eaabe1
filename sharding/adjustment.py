"""Biases and penalties: what changes a row's logits before anything is drawn from them.

The formulas and their order, biases before penalties, are vLLM's (vllm/v1/sample/: sampler.py, ops/penalties.py,
logits_processor/builtin.py) and llama.cpp's (src/llama-sampler.cpp). With c, how often a token has come:

    logit += bias
    logit = logit / repetition if logit > 0 else logit * repetition    where c > 0 (CTRL, arXiv 1909.05858)
    logit -= frequency * c + presence * (c > 0)                        (OpenAI, platform.openai.com/docs/api-reference)

They differ in what has come. OpenAI's two penalties count what was generated, and vLLM's repetition the prompt as well;
llama.cpp counts the last n tokens of both for all three. `SamplingParams.penalty_window` says which.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from sharding.draw import Draw
from sharding.kept import Kept

_OF_PROMPT = 2.0**-18
"""What a token of the prompt counts where only generated ones are counted: so that it shows, and that all those of a
context together are less than one. Sums of these and of ones are exact, as far as they matter."""
_LANES = 128
"""Of a TPU's matrix unit."""


def adjusted(logits: jax.Array, draw: Draw, kept: Kept[jax.Array]) -> jax.Array:
    """Logits with biases and penalties: float32 [B, V]; those of rows without are what they were, bit for bit."""
    logits = lax.cond(jnp.any(draw.num_biases > 0), _biased, lambda logits, *_: logits, logits, draw, kept)
    adjusted: jax.Array = lax.cond(
        jnp.any(draw.has_penalties != 0), _penalised, lambda logits, *_: logits, logits, draw, kept
    )
    return adjusted


@jax.named_scope("biases")  # names, as the next one, for `compiled` and for profiles
def _biased(logits: jax.Array, draw: Draw, kept: Kept[jax.Array]) -> jax.Array:
    rows, vocab_size = logits.shape
    bias_ids, biases = (array.at[draw.slots].get(mode="clip") for array in (kept.bias_ids, kept.biases))
    bias_ids = jnp.where(jnp.arange(bias_ids.shape[1]) < draw.num_biases[:, None], bias_ids, vocab_size)
    return logits.at[jnp.arange(rows)[:, None], bias_ids].add(biases, mode="drop")


@jax.named_scope("penalties")
def _penalised(logits: jax.Array, draw: Draw, kept: Kept[jax.Array]) -> jax.Array:
    came = _count(kept.token_ids.at[draw.slots].get(mode="clip"), _weights(draw, kept.token_ids.shape[1]), logits)
    counted = jnp.floor(came)
    presence, frequency, repetition = (
        penalty[:, None] for penalty in (draw.presence_penalty, draw.frequency_penalty, draw.repetition_penalty)
    )
    repeated = jnp.where(logits > 0, logits / repetition, logits * repetition)
    logits = jnp.where(came > 0, repeated, logits)
    return logits - (frequency * counted + presence * (counted > 0))


def _weights(draw: Draw, max_context: int) -> jax.Array:
    """What each token of a row's sequence counts, before the one to draw: float32 [B, max_context]."""
    positions = jnp.arange(max_context)
    drawn_at, window = draw.positions[:, None], draw.penalty_window[:, None]
    counts = jnp.where(window > 0, positions >= drawn_at - window, positions >= draw.prompt_tokens[:, None])
    weights = jnp.where(counts, 1, jnp.where(window > 0, 0, _OF_PROMPT))
    return jnp.where((positions < drawn_at) & (draw.has_penalties[:, None] != 0), weights, 0)


def _count(token_ids: jax.Array, weights: jax.Array, logits: jax.Array) -> jax.Array:
    """What the weights of each token add up to.

    Args:
      token_ids: int32 [B, N].
      weights: float32 [B, N]: 0, 1, or `_OF_PROMPT`.
      logits: float32 [B, V], for its shape and sharding.
    """
    product, scatter = (partial(count, shape=logits.shape) for count in (_by_product, _by_scatter))
    counted: jax.Array = lax.platform_dependent(token_ids, weights, tpu=product, default=scatter)
    return counted


def _by_scatter(token_ids: jax.Array, weights: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.zeros(shape).at[jnp.arange(shape[0])[:, None], token_ids].add(weights, mode="drop")


def _by_product(token_ids: jax.Array, weights: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """As a product of two one-hot matrices, of the quotients and the remainders of token ids.

    TPUs scatter one number after the other, sorted; their compiler fuses this, of which nothing is in memory.
    """
    rows, vocab_size = shape
    quotients = -(-vocab_size // _LANES)
    left = jax.nn.one_hot(token_ids // _LANES, quotients, dtype=jnp.bfloat16)
    right = jax.nn.one_hot(token_ids % _LANES, _LANES, dtype=jnp.bfloat16) * weights[..., None].astype(jnp.bfloat16)
    counts = jnp.einsum("bnq,bnr->bqr", left, right, preferred_element_type=jnp.float32)
    return counts.reshape(rows, quotients * _LANES)[:, :vocab_size]
