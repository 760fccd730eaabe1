"""Steps as arrays: rows are packed into small buffers, padded to a bucket, and unpacked on the device.

One buffer is one transfer to the device, whatever the number of arrays in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from sharding.attention import Ragged
from sharding.buckets import BucketSizes
from sharding.draw import Draw
from sharding.slots import DRAWING, NO_TOKEN, Slots
from sharding.step import Row

type Packed = npt.NDArray[np.int32]
"""The fields of a `Layout`, one behind the other."""


@dataclass(frozen=True)
class Layout:
    """The arrays of a packed buffer, each of 32-bit elements: name, dtype, shape."""

    fields: tuple[tuple[str, type[np.generic], tuple[int, ...]], ...]

    @cached_property
    def _dtype(self) -> np.dtype[np.void]:
        return np.dtype(list(self.fields))

    @property
    def size(self) -> int:
        """Length of the buffer, in int32."""
        return self._dtype.itemsize // 4

    def new(self) -> tuple[Packed, np.void]:
        """A buffer of zeros, and its fields."""
        buffer = np.zeros(self.size, np.int32)
        return buffer, buffer.view(self._dtype)[0]

    def unpack(self, buffer: jax.Array) -> dict[str, jax.Array]:
        """The fields on the device."""
        fields, start = {}, 0
        for name, dtype, shape in self.fields:
            end = start + math.prod(shape)
            fields[name] = lax.bitcast_convert_type(buffer[start:end], dtype).reshape(shape)
            start = end
        return fields


class Tokens(NamedTuple):
    """What a step computes, on the device.

    Attributes:
      token_ids: int32 [T].
      drawn: bool [T]; tokens that their slots drew last, and that the host may not know.
      outputs: int32 [B]; which tokens logits are computed after, in a mixed step.
      adapters: bool [S, T]; see `sharding.weights.AdaptedWeight`. None: the model has none.
      ragged: which row each token belongs to, and where its keys and values are.
    """

    token_ids: jax.Array
    drawn: jax.Array
    outputs: jax.Array
    adapters: jax.Array | None
    ragged: Ragged


class Draws(NamedTuple):
    """What is drawn after the outputs of a step, of which a decode step has one in each row; on the device.

    Attributes:
      counts: int32 [B]; how many tokens each may draw.
      targets: int32 [B]; see `sharding.sampling.sample`.
      draw: how to draw the first of them.
      stop_ids: int32 [B, `MAX_STOP_IDS`].
    """

    counts: jax.Array
    targets: jax.Array
    draw: Draw
    stop_ids: jax.Array


@dataclass(frozen=True)
class Bucket:
    """A compiled shape: T tokens in B rows; T == B holds one token per row and nothing else.

    Attributes:
      tokens: T.
      rows: B.
      pages: length of a row's page table.
      adapters: S, of the model.
    """

    tokens: int
    rows: int
    pages: int
    adapters: int = 0

    @property
    def decodes(self) -> bool:
        """Whether each row has one token."""
        return self.tokens == self.rows

    @cached_property
    def tokens_layout(self) -> Layout:
        """Of `pack_tokens`."""
        return Layout(
            (
                ("token_ids", np.int32, (self.tokens,)),
                ("page_table", np.int32, (self.rows, self.pages)),
                ("kv_lens", np.int32, (self.rows,)),
                ("cu_q_lens", np.int32, (self.rows + 1,)),
                ("outputs", np.int32, (self.rows,)),
                *([("adapters", np.int32, (self.rows,))] if self.adapters else []),
            )
        )

    @cached_property
    def draws_layout(self) -> Layout:
        """Of `pack_draws`."""
        per_row = (self.rows,)
        return Layout(
            (
                ("slots", np.int32, per_row),
                ("counts", np.int32, per_row),
                ("targets", np.int32, per_row),
                ("positions", np.int32, per_row),
                *((name, dtype, (self.rows, *shape)) for name, dtype, shape in DRAWING),
            )
        )

    def pack_tokens(self, rows: Sequence[Row], slots: Slots) -> Packed:
        """Returns what the rows compute; unused rows and tokens are zero.

        A token that its slot drew last, -1 - slot stands for.
        """
        buffer, step = self.tokens_layout.new()
        # A field at a time: every assignment to an array costs far more than a number in it.
        counts = [row.num_tokens for row in rows]
        ends = list(accumulate(counts))
        token_ids: list[int] = []
        for row in rows:
            token_ids += row.token_ids or (-1 - row.slot,)
        step["token_ids"][: len(token_ids)] = token_ids
        step["cu_q_lens"][1 : len(ends) + 1] = ends
        step["cu_q_lens"][len(ends) + 1 :] = ends[-1]
        step["kv_lens"][: len(rows)] = [row.start + count for row, count in zip(rows, counts, strict=True)]
        step["page_table"][: len(rows)] = slots.pages[[row.slot for row in rows]]
        if self.adapters:
            step["adapters"][: len(rows)] = slots.adapters[[row.slot for row in rows]]
        if not self.decodes:
            last = [end - 1 for end in accumulate(output.num_tokens for output in outputs_of(rows))]
            step["outputs"][: len(last)] = last
        return buffer

    def pack_draws(self, rows: Sequence[Row], slots: Slots) -> Packed:
        """Returns what the rows draw and how."""
        buffer, step = self.draws_layout.new()
        outputs = rows if self.decodes else outputs_of(rows)
        used = slice(len(outputs))
        step["slots"] = len(slots.pages)
        step["slots"][used] = [row.slot if row.draws else len(slots.pages) for row in outputs]
        step["counts"][used] = [row.draws or len(row.targets) for row in outputs]
        step["positions"][used] = [row.start + row.num_tokens for row in outputs]
        if not self.decodes:
            step["targets"][used] = [row.targets[0] if row.targets else NO_TOKEN for row in outputs]
        drawing = slots.drawing[[row.slot for row in outputs]]
        for name, *_ in DRAWING:
            step[name][used] = drawing[name]
        return buffer

    def unpack_tokens(self, packed: jax.Array, newest: jax.Array) -> Tokens:
        """The inverse of `pack_tokens`, with the tokens that the slots drew last: int32 [slots]."""
        fields = self.tokens_layout.unpack(packed)
        token_ids, outputs, adapters = fields.pop("token_ids"), fields.pop("outputs"), fields.pop("adapters", None)
        drawn = token_ids < 0
        token_ids = jnp.where(drawn, newest.at[-1 - token_ids].get(mode="clip"), token_ids)
        ragged = Ragged(**fields)
        return Tokens(token_ids, drawn, outputs, self._chosen(adapters, ragged), ragged)

    def _chosen(self, adapters: jax.Array | None, ragged: Ragged) -> jax.Array | None:
        """From the adapter of each row, 0 for none, to `Tokens.adapters`."""
        if adapters is None:
            return None
        if not self.decodes:
            adapters = adapters.at[ragged.token_rows(self.tokens)].get(mode="fill", fill_value=0)
        return adapters == 1 + jnp.arange(self.adapters)[:, None]

    def unpack_draws(self, packed: jax.Array) -> Draws:
        """The inverse of `pack_draws`."""
        fields = self.draws_layout.unpack(packed)
        counts, targets, stop_ids = (fields.pop(name) for name in ("counts", "targets", "stop_ids"))
        return Draws(counts, targets, Draw(**fields), stop_ids)


def outputs_of(rows: Sequence[Row]) -> list[Row]:
    """The rows of a mixed step, cut so that each has one output, its last token, and at most one target."""
    outputs: list[Row] = []
    for row in rows:
        if not row.targets:
            outputs.append(row)
            continue
        for index, target in enumerate(row.targets):
            token_ids = row.token_ids[index : index + 1]
            outputs.append(Row(slot=row.slot, start=row.start + index, token_ids=token_ids, targets=[target]))
        if rest := row.token_ids[len(row.targets) :]:
            start = row.start + len(row.targets)
            outputs.append(Row(slot=row.slot, start=start, token_ids=rest, draws=row.draws))
    return outputs


def make_buckets(sizes: BucketSizes, max_rows: int, max_pages: int, adapters: int = 0) -> list[Bucket]:
    """Returns all shapes to compile, smallest first: steps with one token per row, then all others."""
    decode = [Bucket(size, size, max_pages, adapters) for size in sizes.decode_rows]
    return decode + [Bucket(size, max_rows, max_pages, adapters) for size in sizes.mixed_tokens]
