"""AdapterForm: a form in which LoRA adapters are published."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sharding.adapters.stored import StoredAdapter


@dataclass(frozen=True, slots=True)
class AdapterForm:
    """How to read one form. `open` and `files` raise CheckpointError, which names file and tensor or field.

    Attributes:
      name: for people.
      recognises: whether a file or directory is of this form where adapters are expected, by a look at its content.
      is_adapter: whether one that this form recognises is an adapter and no whole model; False if it does not say.
      files: those that an adapter is made of.
      open: reads configuration and headers.
    """

    name: str
    recognises: Callable[[Path], bool]
    is_adapter: Callable[[Path], bool]
    files: Callable[[Path], list[Path]]
    open: Callable[[Path], StoredAdapter]
