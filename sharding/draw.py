"""Draw: how the rows of a step draw their tokens, on the device."""

from typing import NamedTuple

import jax


class Draw(NamedTuple):
    """How to draw each row's token. A draw depends on the row's logits, on its parameters here and on what is kept of
    its sequence, nothing else. Parameters are those of `SamplingParams`.

    Attributes:
      slots: int32 [B], where what is kept is; one past the last for rows that draw nothing.
      positions: int32 [B], of the tokens to draw in their sequences.
      temperature: float32 [B].
      top_k: int32 [B].
      top_p: float32 [B].
      min_p: float32 [B].
      seed: uint32 [B].
      wants_logprobs: int32 [B]; not 0 where log probabilities are asked for.
      has_penalties: int32 [B]; not 0 where penalties count tokens.
      presence_penalty: float32 [B].
      frequency_penalty: float32 [B].
      repetition_penalty: float32 [B].
      penalty_window: int32 [B]; 0 for none.
      prompt_tokens: int32 [B], of rows with penalties.
      num_biases: int32 [B], of those kept of the sequence.
    """

    slots: jax.Array
    positions: jax.Array
    temperature: jax.Array
    top_k: jax.Array
    top_p: jax.Array
    min_p: jax.Array
    seed: jax.Array
    wants_logprobs: jax.Array
    has_penalties: jax.Array
    presence_penalty: jax.Array
    frequency_penalty: jax.Array
    repetition_penalty: jax.Array
    penalty_window: jax.Array
    prompt_tokens: jax.Array
    num_biases: jax.Array
