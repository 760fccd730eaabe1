"""The programs that a device runs in a step, as functions to be compiled.

A decode step is a loop on the device, of as many rounds as its rows draw tokens: each round computes the tokens that
the one before drew. A mixed step computes prompts and single tokens alike and leaves logits, from which the sampler
draws. What each slot drew stays on the device, so that the next step can be launched before anybody has read it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sharding.attention import Attention
from sharding.batch import Bucket, Draws
from sharding.config import GemmaConfig
from sharding.draw import Draw
from sharding.drawn_tokens import DrawnTokens
from sharding.gemma import build
from sharding.kept import Kept
from sharding.sampling import Drawn, sample
from sharding.slots import Opened
from sharding.step import MAX_DRAWS, MAX_LOGPROBS
from sharding.weights import Weight

type Parameters = Mapping[str, Weight]
type Cache = list[jax.Array]


class _Round(NamedTuple):
    """Where a decode loop stands.

    A row that has drawn its last token repeats its last round: it writes the same keys and values again.

    Attributes:
      number: int32, of rounds done.
      token_ids: int32 [B], to compute in the next round.
      kv_lens: int32 [B], tokens of each row once that is done.
      active: bool [B], rows that draw in it.
      newest: int32 [B], the token that each row drew last.
      history: int32 [slots, max_context], `Kept.token_ids`.
      record: what was drawn so far.
      cache: the KV cache.
    """

    number: jax.Array
    token_ids: jax.Array
    kv_lens: jax.Array
    active: jax.Array
    newest: jax.Array
    history: jax.Array
    record: DrawnTokens
    cache: Cache


def decode(
    config: GemmaConfig,
    attention: Attention,
    bucket: Bucket,
    parameters: Parameters,
    cache: Cache,
    kept: Kept[jax.Array],
    packed_tokens: jax.Array,
    packed_draws: jax.Array,
) -> tuple[DrawnTokens, Kept[jax.Array], Cache]:
    """Runs a decode step of up to `MAX_DRAWS` rounds.

    Args:
      config: the shape of the model.
      attention: over its devices.
      bucket: the shape of the step.
      parameters: by path, those of adapters with them.
      cache: of each layer.
      kept: of the sequences.
      packed_tokens: of `Bucket.pack_tokens`.
      packed_draws: of `Bucket.pack_draws`.

    Returns:
      What was drawn, and what is kept and the cache after it.
    """
    model = build(config, parameters)
    tokens = bucket.unpack_tokens(packed_tokens, kept.newest)
    draws = bucket.unpack_draws(packed_draws)

    def unfinished(state: _Round) -> jax.Array:
        return (state.number == 0) | jnp.any(state.active)

    def run(state: _Round) -> _Round:
        ragged = tokens.ragged._replace(kv_lens=state.kv_lens)
        x, cache = model(state.token_ids, state.cache, ragged, attention, tokens.adapters)
        draw = draws.draw._replace(positions=state.kv_lens)
        drawn = sample(model.logits(x), draw, kept._replace(token_ids=state.history), MAX_LOGPROBS)
        newest = jnp.where(state.active, drawn.token_ids, state.newest)
        record = _recorded(state.record, state.number, drawn, state.active)
        active = state.active & (record.token_ids[0] < draws.counts) & ~_ends(newest, draws, config.vocab_size)
        return _Round(
            number=state.number + 1,
            token_ids=jnp.where(active, newest, state.token_ids),
            kv_lens=state.kv_lens + active,
            active=active,
            newest=newest,
            history=_followed(state.history, draw, drawn.token_ids, state.active),
            record=record,
            cache=cache,
        )

    last: _Round = lax.while_loop(
        unfinished,
        run,
        _Round(
            number=jnp.int32(0),
            token_ids=tokens.token_ids,
            kv_lens=tokens.ragged.kv_lens,
            # A slot whose newest token ended it is in this step because that token had not been read yet.
            active=(draws.counts > 0) & ~(tokens.drawn & _ends(tokens.token_ids, draws, config.vocab_size)),
            newest=jnp.zeros_like(draws.counts),
            history=kept.token_ids,
            record=_empty_record(MAX_DRAWS, bucket.rows),
            cache=cache,
        ),
    )
    slots = jnp.where(last.record.token_ids[0] > 0, draws.draw.slots, kept.newest.size)
    newest = kept.newest.at[slots].set(last.newest, mode="drop")
    return last.record, kept._replace(newest=newest, token_ids=last.history), last.cache


def forward(
    config: GemmaConfig,
    attention: Attention,
    bucket: Bucket,
    parameters: Parameters,
    cache: Cache,
    kept: Kept[jax.Array],
    packed_tokens: jax.Array,
) -> tuple[jax.Array, Cache]:
    """Runs a mixed step; arguments as of `decode`.

    Returns:
      The logits after the tokens that are outputs, float32 [B, V], and the cache.
    """
    tokens = bucket.unpack_tokens(packed_tokens, kept.newest)
    model = build(config, parameters)
    x, cache = model(tokens.token_ids, cache, tokens.ragged, attention, tokens.adapters)
    return model.logits(x[tokens.outputs]), cache


def draw(
    bucket: Bucket, logits: jax.Array, kept: Kept[jax.Array], packed_draws: jax.Array
) -> tuple[DrawnTokens, Kept[jax.Array]]:
    """Draws a token after each output of a mixed step that asks for one; returns it, and what is kept after it."""
    draws = bucket.unpack_draws(packed_draws)
    drawn = sample(logits, draws.draw, kept, MAX_LOGPROBS, draws.targets)
    record = _recorded(_empty_record(1, bucket.rows), jnp.int32(0), drawn, draws.counts > 0)
    newest = kept.newest.at[draws.draw.slots].set(drawn.token_ids, mode="drop")
    history = _followed(kept.token_ids, draws.draw, drawn.token_ids, draws.counts > 0)
    return record, kept._replace(newest=newest, token_ids=history)


def open_slot(kept: Kept[jax.Array], opened: Opened[jax.Array]) -> Kept[jax.Array]:
    """Keeps of a sequence what its draws depend on: before the step in which it takes the slot."""
    slot = opened.slot
    return kept._replace(
        token_ids=kept.token_ids.at[slot].set(opened.token_ids),
        bias_ids=kept.bias_ids.at[slot].set(opened.bias_ids),
        biases=kept.biases.at[slot].set(opened.biases),
    )


def _followed(history: jax.Array, draw: Draw, token_ids: jax.Array, active: jax.Array) -> jax.Array:
    """`Kept.token_ids` with the tokens that the active rows have drawn, if any row has penalties."""
    slots = jnp.where(active, draw.slots, len(history))

    def followed() -> jax.Array:
        return history.at[slots, draw.positions].set(token_ids, mode="drop")

    after: jax.Array = lax.cond(jnp.any(draw.has_penalties != 0), followed, lambda: history)
    return after


def _empty_record(rounds: int, rows: int) -> DrawnTokens:
    return DrawnTokens(
        token_ids=jnp.zeros((1 + rounds, rows), jnp.int32),
        logprobs=jnp.zeros((rounds, rows)),
        top_ids=jnp.zeros((rounds, rows, MAX_LOGPROBS), jnp.int32),
        top_logprobs=jnp.zeros((rounds, rows, MAX_LOGPROBS)),
    )


def _recorded(record: DrawnTokens, number: jax.Array, drawn: Drawn, active: jax.Array) -> DrawnTokens:
    """Adds a round; rows that are not `active` do not count it."""
    return DrawnTokens(
        token_ids=record.token_ids.at[0].add(active).at[1 + number].set(drawn.token_ids),
        logprobs=record.logprobs.at[number].set(drawn.logprobs),
        top_ids=record.top_ids.at[number].set(drawn.top_ids),
        top_logprobs=record.top_logprobs.at[number].set(drawn.top_logprobs),
    )


def _ends(token_ids: jax.Array, draws: Draws, vocab_size: int) -> jax.Array:
    """Whether a token of each row, [B], is a stop id, or stands for logits that are not numbers."""
    return jnp.any(token_ids[:, None] == draws.stop_ids, axis=1) | (token_ids >= vocab_size)
