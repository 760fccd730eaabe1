"""StoredAdapter: a LoRA adapter in files, whatever their form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sharding.adapters.adapter import AdapterError
from sharding.adapters.update import LoraUpdate
from sharding.checkpoint.matrix import Matrix
from sharding.config import GemmaConfig
from sharding.parameters import parameters

_TYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAdapter:
    """An adapter, of which headers are read.

    Attributes:
      form: the name of its form.
      path: the file or directory.
      rank: the highest of its projections'.
      made_for: the model that it was trained on, as it says; empty where it does not.
      tensors: by name, as they are stored.
      projections: that it adapts, as `sharding.parameters` calls them within a layer.
      updates_of: what it adds to a model of a shape, by the paths of projections; raises AdapterError for what is
        missing or of another model.
      config_name: the file that says the ranks.
    """

    form: str
    path: Path
    rank: int
    made_for: str
    tensors: Mapping[str, Matrix]
    projections: tuple[str, ...]
    updates_of: Callable[[GemmaConfig], Mapping[str, LoraUpdate]]
    config_name: str

    def updates(self, config: GemmaConfig) -> Mapping[str, LoraUpdate]:
        """What it adds to a model, by the paths of projections, such as `layers.0.attention.q`.

        Raises:
          AdapterError: it is of another model; names file and tensor.
        """
        found = self.updates_of(config)
        table = parameters(config)
        for path, update in found.items():
            if path not in table:
                raise AdapterError(
                    f"{update.a.file}: tensor {update.a.name}: the model has {config.num_layers} layers. "
                    f"{_made_for(self.made_for)}"
                )
            outputs, inputs = table[path].stored_shape
            for matrix, shape in ((update.a, (update.rank, inputs)), (update.b, (outputs, update.rank))):
                if matrix.type not in _TYPES:
                    raise AdapterError(
                        f"{matrix.file}: tensor {matrix.name} has the type {matrix.type}; {', '.join(_TYPES)} are "
                        "supported."
                    )
                if matrix.shape != shape:
                    raise AdapterError(
                        f"{matrix.file}: tensor {matrix.name} has shape {matrix.shape}; this model and "
                        f"{self.config_name} ask for {shape}. {_made_for(self.made_for)}"
                    )
        return found


def _made_for(model: str) -> str:
    return f"It was made for {model[:200]!r}." if model else "It was made for another model."
