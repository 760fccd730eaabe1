"""The configurations that are compiled: those of `config/tpu-v5e.yaml` and the chart, and 7B on eight chips."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from serving.config import ModelConfig
from serving.sizing import V5E_BYTES, check_model, kv_tokens
from serving.topology import Topology
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig

ROOT = Path(__file__).parents[1]
_SHAPES = {"codegemma-2b": CODEGEMMA_2B, "codegemma-7b-it": CODEGEMMA_7B}
_LARGER = {"codegemma-7b-it": ({"chips_per_host": 8}, {"chips_per_host": 4, "hosts": 2})}
"""Further topologies that docs/kubernetes.md offers, by model."""


@dataclass(frozen=True)
class Configuration:
    """A model on its chips.

    Attributes:
      name: `codegemma-7b-it bfloat16 on 2x4, 2 hosts`.
      model: as configured.
      shape: of its checkpoint.
    """

    name: str
    model: ModelConfig
    shape: GemmaConfig

    @property
    def num_pages(self) -> int:
        """P of the KV cache, as `serving.sizing` chooses it.

        Raises:
          ValueError: sizing refuses the configuration.
        """
        check_model(self.model, self.shape)
        return kv_tokens(self.model, self.shape, V5E_BYTES) // self.model.limits.page_size


def shipped() -> list[Configuration]:
    """Returns each configuration once.

    Raises:
      ValueError: the files disagree about one.
    """
    unique: dict[str, Configuration] = {}
    for model in _configured():
        topologies = [model.topology]
        topologies += [Topology(accelerator="tpu-v5litepod", **other) for other in _LARGER.get(model.id, ())]
        for topology in topologies:
            on_chips = model.model_copy(update={"topology": topology, "autoscaling": None})
            hosts = f", {topology.hosts} hosts" if topology.hosts > 1 else ""
            name = f"{model.id} {model.dtype} on {topology}{hosts}"
            if name in unique and unique[name].model != on_chips:
                raise ValueError(f"{name}: config/tpu-v5e.yaml and the chart's values differ. Make them the same.")
            unique[name] = Configuration(name, on_chips, _SHAPES[model.id])
    return list(unique.values())


def _configured() -> Iterator[ModelConfig]:
    config = yaml.safe_load((ROOT / "config" / "tpu-v5e.yaml").read_text())
    chart = yaml.safe_load((ROOT / "helm" / "codegemma-serving" / "values-tpu-v5e.yaml").read_text())
    for each in (*config["applications"][0]["args"]["models"], *chart["serving"]["models"]):
        yield ModelConfig.model_validate(each)
