"""Damage: what was done to a checkpoint, and what that allows a reader to give."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

type Draw = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What was done to one file.

    Attributes:
      text: says it, for people.
      changed: so many bytes have other values in their old places; 0: something else was done, and no number of the
        model may be another one.
      refused: whether nothing of it may be read.
      names: what the refusal has in it besides the path.
      untrusted_tokenizer: the tokenizer is another one, which `codegemma inspect` must say.
      afterwards: is done once the checkpoint is open, and the reading of its weights must say so.
    """

    text: str
    changed: int = 0
    refused: bool = False
    names: str = ""
    untrusted_tokenizer: bool = False
    afterwards: Callable[[], object] | None = None


@dataclass(frozen=True)
class Kind:
    """A way to damage a file.

    Attributes:
      suits: whether it can be done to a file; of those that a form has, one is drawn.
      damage: does it.
    """

    suits: Callable[[Path], bool]
    damage: Callable[[Path, Draw], Damage]


def pick[T](draw: Draw, of: list[T] | tuple[T, ...]) -> T:
    """One of several."""
    return of[int(draw.integers(len(of)))]
