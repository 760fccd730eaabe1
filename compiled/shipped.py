"""The configurations that are compiled: those of `config/` and of the chart, and 7B on eight TPU chips."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from serving.config import ModelConfig
from serving.models.chip_memory import V5E_BYTES, check_model, kv_tokens
from serving.models.topology import Topology
from sharding.config import CODEGEMMA_2B, CODEGEMMA_7B, GemmaConfig

ROOT = Path(__file__).parents[1]
_SHAPES = {"codegemma-2b": CODEGEMMA_2B, "codegemma-7b-it": CODEGEMMA_7B}
_LARGER = {"codegemma-7b-it": ({"chips_per_host": 8}, {"chips_per_host": 4, "hosts": 2})}
"""Further TPU topologies that docs/kubernetes.md offers, by model."""
_CHIP_BYTES = {"tpu": V5E_BYTES, "gpu": 60 * 10**9}
"""By platform: an H100 has 80 GB, of which JAX takes three quarters (docs.jax.dev, GPU memory allocation)."""


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
        """P of the KV cache, as `serving.models.chip_memory` chooses it.

        Raises:
          ValueError: sizing refuses the configuration.
        """
        check_model(self.model, self.shape)
        chip_bytes = _CHIP_BYTES[self.model.topology.platform]
        return kv_tokens(self.model, self.shape, chip_bytes) // self.model.limits.page_size


def shipped(kind: str, quantize: str | None = None) -> list[Configuration]:
    """Returns each configuration once.

    Args:
      kind: `tpu-v5e` or `gpu`, as in the names of the files.
      quantize: of all models instead of their own.

    Raises:
      ValueError: the files disagree about one.
    """
    unique: dict[str, Configuration] = {}
    for model in _configured(kind):
        for topology in (model.topology, *_larger(model)):
            weights = quantize or model.quantize
            on_chips = model.model_copy(update={"topology": topology, "autoscaling": None, "quantize": weights})
            hosts = f", {topology.hosts} hosts" if topology.hosts > 1 else ""
            name = f"{model.id} {weights or model.dtype} on {topology}{hosts}"
            if name in unique and unique[name].model != on_chips:
                raise ValueError(f"{name}: config/{kind}.yaml and the chart's values differ. Make them the same.")
            unique[name] = Configuration(name, on_chips, _SHAPES[model.id].quantised(weights))
    return list(unique.values())


def _larger(model: ModelConfig) -> list[Topology]:
    if model.topology.platform != "tpu":
        return []
    return [Topology(accelerator="tpu-v5litepod", **other) for other in _LARGER.get(model.id, ())]


def _configured(kind: str) -> Iterator[ModelConfig]:
    config = yaml.safe_load((ROOT / "config" / f"{kind}.yaml").read_text())
    chart = yaml.safe_load((ROOT / "helm" / "codegemma-serving" / f"values-{kind}.yaml").read_text())
    for each in (*config["applications"][0]["args"]["models"], *chart["serving"]["models"]):
        yield ModelConfig.model_validate(each)
