"""Adapter: one LoRA adapter in the memory of a host."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.errors import CheckpointError


class AdapterError(CheckpointError):
    """An adapter cannot be used; the message names file and tensor."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter adds to the projections of a model: to W, B A (LoRA, arXiv 2106.09685).

    Attributes:
      weights: by path, as `sharding.parameters.adapter_parameters` names them, of the projections that it adapts: A
        [r, *in] and B [*out, r], r at most the rank that was asked for. What A's product is multiplied by is part of B.
      version: names its contents; the same for the same files.
    """

    weights: Mapping[str, npt.NDArray[np.float32]]
    version: str
