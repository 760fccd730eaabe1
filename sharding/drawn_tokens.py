"""What was drawn after the outputs of a step, on the device and then on the host."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sharding.step import Token


class DrawnTokens(NamedTuple):
    """The tokens of a step of up to K rounds, replicated over the devices.

    Attributes:
      token_ids: int32 [1 + K, B]; the first row says how many of those below each output drew.
      logprobs: float32 [K, B]; this and what follows as in `sharding.sampling.Drawn`.
      top_ids: int32 [K, B, L].
      top_logprobs: float32 [K, B, L].
    """

    token_ids: jax.Array
    logprobs: jax.Array
    top_ids: jax.Array
    top_logprobs: jax.Array

    def tokens(self, logprobs: Sequence[int | None], vocab_size: int) -> list[list[Token]]:
        """Waits for the device; returns the tokens drawn after each output, or its target.

        Args:
          logprobs: `SamplingParams.logprobs` of each output, of as many as the step has.
          vocab_size: V.

        Raises:
          FloatingPointError: the model's output is not a number.
        """
        drawn = np.asarray(self.token_ids)[:, : len(logprobs)]
        counts = drawn[0].tolist()
        rounds = drawn[1 : 1 + max(counts)]
        token_ids = [row[:count] for row, count in zip(rounds.T.tolist(), counts, strict=True)]
        if any(token_id >= vocab_size for row in token_ids for token_id in row):
            raise FloatingPointError("The model's logits are not numbers: check the checkpoint and its dtype.")
        if all(wanted is None for wanted in logprobs):
            return [[Token(token_id) for token_id in row] for row in token_ids]
        host: DrawnTokens = jax.device_get(self)
        return [
            [host._token(token_id, wanted, round_, index) for round_, token_id in enumerate(row)]
            for index, (row, wanted) in enumerate(zip(token_ids, logprobs, strict=True))
        ]

    def _token(self, token_id: int, logprobs: int | None, round_: int, row: int) -> Token:
        if logprobs is None:
            return Token(token_id)
        top = zip(self.top_ids[round_, row].tolist(), self.top_logprobs[round_, row].tolist(), strict=True)
        return Token(token_id, float(self.logprobs[round_, row]), tuple(top)[:logprobs])
