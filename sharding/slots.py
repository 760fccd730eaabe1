"""Slots: what a host keeps of each sequence from step to step, so that a step's rows need not say it again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sharding.step import MAX_BIASES, MAX_STOP_IDS, Limits, Opening, Row

type HostArray = npt.NDArray[np.generic]

NO_TOKEN = -1
"""Fills the places of stop ids that a sequence does not have; no token has it."""
DRAWING: tuple[tuple[str, type[np.generic], tuple[int, ...]], ...] = (
    ("temperature", np.float32, ()),
    ("top_k", np.int32, ()),
    ("top_p", np.float32, ()),
    ("min_p", np.float32, ()),
    ("seed", np.uint32, ()),
    ("wants_logprobs", np.int32, ()),
    ("has_penalties", np.int32, ()),
    ("presence_penalty", np.float32, ()),
    ("frequency_penalty", np.float32, ()),
    ("repetition_penalty", np.float32, ()),
    ("penalty_window", np.int32, ()),
    ("prompt_tokens", np.int32, ()),
    ("num_biases", np.int32, ()),
    ("stop_ids", np.int32, (MAX_STOP_IDS,)),
)
"""What a sequence has of `sharding.draw.Draw`, and its stop ids: name, dtype, shape."""


class Opened[A](NamedTuple):
    """What the device is to keep of a sequence: see `sharding.kept`.

    Attributes:
      slot: int32 [].
      token_ids: int32 [max_context].
      bias_ids: int32 [MAX_BIASES].
      biases: float32 [MAX_BIASES].
    """

    slot: A
    token_ids: A
    bias_ids: A
    biases: A

    @staticmethod
    def empty(max_context: int) -> "Opened[HostArray]":
        """All zeros, on the host."""
        return Opened(
            slot=np.zeros((), np.int32),
            token_ids=np.zeros(max_context, np.int32),
            bias_ids=np.zeros(MAX_BIASES, np.int32),
            biases=np.zeros(MAX_BIASES, np.float32),
        )


class Slots:
    """Pages and parameters of drawing, by slot.

    Attributes:
      pages: int32 [slots, pages_per_sequence]; pages behind those known are meaningless.
      adapters: int32 [slots], `Opening.adapter` of each sequence.
      drawing: structured [slots]: `DRAWING`, how each sequence draws.
    """

    def __init__(self, limits: Limits) -> None:
        self.pages: npt.NDArray[np.int32] = np.zeros((limits.slots, limits.pages_per_sequence), np.int32)
        self.adapters: npt.NDArray[np.int32] = np.zeros(limits.slots, np.int32)
        self.drawing: npt.NDArray[np.void] = np.zeros(limits.slots, np.dtype(list(DRAWING)))
        self._logprobs: list[int | None] = [None] * limits.slots
        self._max_context = limits.max_context

    def update(self, rows: Sequence[Row]) -> list[Opened[HostArray]]:
        """Takes over what the rows of the next step say of their slots; returns what the device is to keep of it."""
        opened = []
        for row in rows:
            if row.opening is not None:
                self._open(row.slot, row.opening)
                if row.opening.sampling.has_penalties or row.opening.sampling.logit_bias:
                    opened.append(self._opened(row.slot, row.opening))
            if row.pages:
                self.pages[row.slot, row.first_page : row.first_page + len(row.pages)] = row.pages
        return opened

    def logprobs(self, slot: int) -> int | None:
        """`SamplingParams.logprobs` of a slot's sequence."""
        return self._logprobs[slot]

    def _open(self, slot: int, opening: Opening) -> None:
        sampling, stop_ids = opening.sampling, tuple(opening.stop_ids[:MAX_STOP_IDS])
        self._logprobs[slot] = sampling.logprobs
        self.adapters[slot] = opening.adapter
        self.drawing[slot] = (
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            sampling.min_p,
            sampling.seed,
            sampling.logprobs is not None,
            sampling.has_penalties,
            sampling.presence_penalty,
            sampling.frequency_penalty,
            sampling.repetition_penalty,
            min(sampling.penalty_window or 0, self._max_context),
            opening.prompt_tokens,
            len(sampling.logit_bias),
            stop_ids + (NO_TOKEN,) * (MAX_STOP_IDS - len(stop_ids)),
        )

    def _opened(self, slot: int, opening: Opening) -> Opened[HostArray]:
        opened = Opened.empty(self._max_context)
        opened.slot[...] = slot
        opened.token_ids[: len(opening.token_ids)] = opening.token_ids
        biases = opening.sampling.logit_bias
        opened.bias_ids[: len(biases)] = [token_id for token_id, _ in biases]
        opened.biases[: len(biases)] = [bias for _, bias in biases]
        return opened
