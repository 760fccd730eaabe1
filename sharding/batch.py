"""Step plans as arrays: rows are packed into one small buffer, padded to a bucket, and unpacked on the device.

One buffer is one transfer to the device per step, whatever the number of arrays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import NamedTuple, Protocol

import jax
import numpy as np
from jax import lax

from sharding.attention import Ragged
from sharding.buckets import BucketSizes
from sharding.sampling import Draw


class SamplingParams(Protocol):
    """How a row's next token is drawn; `serving.engine.request.SamplingParams` is one.

    Attributes:
      temperature: 0 is greedy.
      top_k: 0 keeps all.
      top_p: 1 keeps all.
      seed: unsigned 32 bits.
      logprobs: how many alternatives to report; 0: the token's own log probability only; None: nothing.
    """

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def logprobs(self) -> int | None: ...


class Row(Protocol):
    """One sequence's share of a step; `serving.engine.runner.StepRow` is one.

    Attributes:
      token_ids: the tokens to compute; at least one.
      start: the position of the first of them.
      pages: the pages of the sequence, in order, up to the last of `token_ids`.
      sampling: None when no token is to be drawn.
    """

    @property
    def token_ids(self) -> Sequence[int]: ...
    @property
    def start(self) -> int: ...
    @property
    def pages(self) -> Sequence[int]: ...
    @property
    def sampling(self) -> SamplingParams | None: ...


class _NotDrawn(NamedTuple):
    """Fills the place of a row's `SamplingParams` where no token is drawn."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 0.0
    seed: int = 0
    logprobs: int | None = None


_NOT_DRAWN = _NotDrawn()


class Step(NamedTuple):
    """A step on the device.

    Attributes:
      token_ids: int32 [T].
      ragged: which row each token belongs to, and where its keys and values are.
      draw: how to draw the next token of each row.
    """

    token_ids: jax.Array
    ragged: Ragged
    draw: Draw


@dataclass(frozen=True)
class Bucket:
    """A compiled shape: T tokens in B rows; T == B holds one token per row and nothing else.

    Attributes:
      tokens: T.
      rows: B.
      pages: length of a row's page table.
    """

    tokens: int
    rows: int
    pages: int

    @property
    def _fields(self) -> list[tuple[str, type[np.generic], tuple[int, ...]]]:
        per_row = (self.rows,)
        return [
            ("token_ids", np.int32, (self.tokens,)),
            ("page_table", np.int32, (self.rows, self.pages)),
            ("kv_lens", np.int32, per_row),
            ("cu_q_lens", np.int32, (self.rows + 1,)),
            ("temperature", np.float32, per_row),
            ("top_k", np.int32, per_row),
            ("top_p", np.float32, per_row),
            ("seed", np.uint32, per_row),
            ("wants_logprobs", np.int32, per_row),
        ]

    @cached_property
    def _layout(self) -> np.dtype[np.void]:
        return np.dtype(self._fields)

    @property
    def packed_size(self) -> int:
        """Length of the packed buffer, in int32."""
        return self._layout.itemsize // 4

    def pack(self, rows: Sequence[Row]) -> np.ndarray:
        """Returns the rows as one int32 buffer; unused rows and tokens are zero."""
        buffer = np.zeros(self.packed_size, np.int32)
        step = buffer.view(self._layout)[0]
        used = slice(len(rows))
        # A field at a time: every assignment to an array costs far more than a number in it.
        ends = list(accumulate(len(row.token_ids) for row in rows))
        step["token_ids"][: ends[-1]] = list(chain.from_iterable(row.token_ids for row in rows))
        step["cu_q_lens"][1:] = ends[-1]
        step["cu_q_lens"][1:][used] = ends
        step["kv_lens"][used] = [row.start + len(row.token_ids) for row in rows]
        page_table = step["page_table"]
        for index, row in enumerate(rows):
            page_table[index, : len(row.pages)] = row.pages
        sampling = [row.sampling or _NOT_DRAWN for row in rows]
        step["temperature"][used] = [each.temperature for each in sampling]
        step["top_k"][used] = [each.top_k for each in sampling]
        step["top_p"][used] = [each.top_p for each in sampling]
        step["seed"][used] = [each.seed for each in sampling]
        step["wants_logprobs"][used] = [each.logprobs is not None for each in sampling]
        return buffer

    def unpack(self, buffer: jax.Array) -> Step:
        """The inverse of `pack`, on the device."""
        fields, start = {}, 0
        for name, dtype, shape in self._fields:
            end = start + math.prod(shape)
            fields[name] = lax.bitcast_convert_type(buffer[start:end], dtype).reshape(shape)
            start = end
        token_ids, kv_lens = fields.pop("token_ids"), fields.pop("kv_lens")
        ragged = Ragged(fields.pop("page_table"), kv_lens, fields.pop("cu_q_lens"))
        return Step(token_ids, ragged, Draw(positions=kv_lens, **fields))


def make_buckets(sizes: BucketSizes, max_rows: int, max_pages: int) -> list[Bucket]:
    """Returns all shapes to compile, smallest first: steps with one token per row, then all others."""
    decode = [Bucket(size, size, max_pages) for size in sizes.decode_rows]
    return decode + [Bucket(size, max_rows, max_pages) for size in sizes.mixed_tokens]
