"""How many rows and tokens steps are compiled for: few enough to start fast, close enough to waste little.

A step runs in the smallest shape that holds it, and pays for all of that shape. On TPUs and GPUs both sizes start high:
up to some hundred tokens a step takes the time in which the weights are read.
"""

from typing import NamedTuple


class BucketSizes(NamedTuple):
    """The shapes of one model's steps, smallest first.

    Attributes:
      decode_rows: rows of the steps with one token for each row.
      mixed_tokens: tokens of all other steps, which have `max_rows` rows.
    """

    decode_rows: list[int]
    mixed_tokens: list[int]


class _Steps(NamedTuple):
    """The sizes of a platform: the first one, and how often as large the next one is."""

    first_rows: int
    times_rows: int
    first_tokens: int


_BY_PLATFORM = {
    # Compiled for v5e, 1 to 8 rows cost the same, but a single row leaves the matrix unit and costs twice as much.
    "tpu": _Steps(first_rows=8, times_rows=4, first_tokens=128),
    "gpu": _Steps(first_rows=1, times_rows=4, first_tokens=128),
    "cpu": _Steps(first_rows=1, times_rows=2, first_tokens=16),
}


def bucket_sizes(
    platform: str, dtype: str, max_rows: int, max_step_tokens: int, *, quantised: bool = False
) -> BucketSizes:
    """Returns the sizes to compile; the largest hold `max_rows` and `max_step_tokens`.

    Mixed steps have more tokens than rows, so that the shape tells them from decode steps.

    Args:
      platform: what JAX calls the accelerator: `cpu`, `gpu` or `tpu`.
      dtype: of the activations.
      max_rows: sequences in one step.
      max_step_tokens: tokens in one step, over all rows.
      quantised: whether the matrices are.
    """
    steps = _BY_PLATFORM[platform]
    if platform == "cpu" and dtype != "float32":
        steps = steps._replace(first_rows=2)  # XLA: 10 times slower for one row
    if platform == "gpu" and quantised:
        steps = steps._replace(first_rows=2)  # XLA: 4 to 11% slower for one row, which leaves the tensor cores
    first_tokens = steps.first_tokens
    while first_tokens <= max_rows:
        first_tokens *= 2
    return BucketSizes(
        decode_rows=_multiples(min(steps.first_rows, max_rows), max_rows, steps.times_rows),
        mixed_tokens=_multiples(first_tokens, max(first_tokens, max_step_tokens), 2),
    )


def _multiples(first: int, last: int, times: int) -> list[int]:
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(times * sizes[-1], last))
    return sizes
