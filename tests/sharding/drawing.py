"""What tests of sampling share: a `Draw` and what is kept of its rows, from numbers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from sharding.draw import Draw
from sharding.kept import Kept
from sharding.slots import DRAWING
from sharding.step import MAX_BIASES

MAX_CONTEXT = 24
_NEUTRAL = {"top_p": 1.0, "repetition_penalty": 1.0, "wants_logprobs": 1}
_DTYPES = {"positions": np.int32, "slots": np.int32} | {name: dtype for name, dtype, _ in DRAWING}


def draw_of(rows: int, **values: npt.ArrayLike) -> Draw:
    """How to draw each row; what is not given is neutral, and slots are in order."""
    given = {"slots": np.arange(rows), **values}
    return Draw(
        *(
            jnp.asarray(np.broadcast_to(np.asarray(given.get(name, _NEUTRAL.get(name, 0)), _DTYPES[name]), rows))
            for name in Draw._fields
        )
    )


def kept_of(
    rows: int, token_ids: Sequence[Sequence[int]] = (), biases: Sequence[Sequence[tuple[int, float]]] = ()
) -> Kept[jax.Array]:
    """What is kept of each row's sequence; what is not given is nonsense, of which nothing may come."""
    history = np.full((rows, MAX_CONTEXT), 3, np.int32)
    bias_ids, bias = np.full((rows, MAX_BIASES), 2, np.int32), np.full((rows, MAX_BIASES), 50.0, np.float32)
    for row, ids in enumerate(token_ids):
        history[row, : len(ids)] = ids
    for row, pairs in enumerate(biases):
        for index, (token_id, value) in enumerate(pairs):
            bias_ids[row, index], bias[row, index] = token_id, value
    return Kept(*map(jnp.asarray, (np.zeros(rows, np.int32), history, bias_ids, bias)))
