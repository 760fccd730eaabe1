"""Slots: what a host keeps of each sequence from step to step, so that a step's rows need not say it again."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sharding.step import MAX_STOP_IDS, Limits, Opening, Row

NO_TOKEN = -1
"""Fills the places of stop ids that a sequence does not have; no token has it."""


class Slots:
    """Pages and parameters of drawing, by slot.

    Attributes:
      pages: int32 [slots, pages_per_sequence]; pages behind those known are meaningless.
      drawing: structured [slots]: `DRAWING`, how each sequence draws.
    """

    DRAWING = np.dtype(
        [
            ("temperature", np.float32),
            ("top_k", np.int32),
            ("top_p", np.float32),
            ("seed", np.uint32),
            ("wants_logprobs", np.int32),
            ("stop_ids", np.int32, (MAX_STOP_IDS,)),
        ]
    )

    def __init__(self, limits: Limits) -> None:
        self.pages: npt.NDArray[np.int32] = np.zeros((limits.slots, limits.pages_per_sequence), np.int32)
        self.drawing: npt.NDArray[np.void] = np.zeros(limits.slots, self.DRAWING)
        self._logprobs: list[int | None] = [None] * limits.slots

    def update(self, rows: Sequence[Row]) -> None:
        """Takes over what the rows of the next step say of their slots."""
        for row in rows:
            if row.opening is not None:
                self._open(row.slot, row.opening)
            if row.pages:
                self.pages[row.slot, row.first_page : row.first_page + len(row.pages)] = row.pages

    def logprobs(self, slot: int) -> int | None:
        """`SamplingParams.logprobs` of a slot's sequence."""
        return self._logprobs[slot]

    def _open(self, slot: int, opening: Opening) -> None:
        sampling, stop_ids = opening.sampling, tuple(opening.stop_ids[:MAX_STOP_IDS])
        self._logprobs[slot] = sampling.logprobs
        self.drawing[slot] = (
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            sampling.seed,
            sampling.logprobs is not None,
            stop_ids + (NO_TOKEN,) * (MAX_STOP_IDS - len(stop_ids)),
        )
