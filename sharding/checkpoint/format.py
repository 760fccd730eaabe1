"""Format: a form in which models are published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sharding.checkpoint.quantised import QuantisedSource
from sharding.checkpoint.source import TensorSource
from sharding.checkpoint.tokenizer import StoredTokenizer
from sharding.config import GemmaConfig

type Tensors = Mapping[str, TensorSource | QuantisedSource]
"""By parameter path: where each parameter of a model is stored, to be read slice by slice."""


@dataclass(frozen=True, slots=True)
class Format:
    """How to read one form. All but `recognises` raise CheckpointError, which names file and tensor or field.

    Attributes:
      name: for people.
      recognises: whether a file or directory is of this form, by its content; damage beyond that is another matter.
      read_config: the model's shape. Needs no weights to be there, where the form has them in files of their own.
      read_tensors: where the parameters of a model of that shape are; reads headers only.
      read_tokenizer: the tokenizer; None: there is none.
    """

    name: str
    recognises: Callable[[Path], bool]
    read_config: Callable[[Path], GemmaConfig]
    read_tensors: Callable[[Path, GemmaConfig], Tensors]
    read_tokenizer: Callable[[Path], StoredTokenizer | None]
