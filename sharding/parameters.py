"""The parameters of a Gemma: the one table from which shapes, shardings, sizes, initial values and loading derive.

Needs no JAX. Each parameter is written as the letters of its axes (see `sharding`), outputs before inputs: `"ND E"` is
a projection from the embedding to N heads of size D. A norm is a vector: `"E"`.
"""

from dataclasses import dataclass
from math import prod

from sharding.config import GemmaConfig

_LAYER = {
    "pre_attention_norm": "E",
    "attention.q": "ND E",
    "attention.k": "KD E",
    "attention.v": "KD E",
    "attention.o": "E ND",
    "pre_mlp_norm": "E",
    "mlp.gate": "F E",
    "mlp.up": "F E",
    "mlp.down": "E F",
}
_LAYER_QK_NORMS = {"attention.q_norm": "D", "attention.k_norm": "D"}
_LAYER_POST_NORMS = {"post_attention_norm": "E", "post_mlp_norm": "E"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """The axes of a parameter.

    Attributes:
      outputs: letters of the axes that a projection computes, which come first; none for a norm.
      inputs: letters of the axes that it sums over.
      shape: sizes of the axes, outputs first.
    """

    outputs: str
    inputs: str
    shape: tuple[int, ...]

    @property
    def axes(self) -> str:
        """Letters of all axes, in the order of `shape`."""
        return self.outputs + self.inputs

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in every file format: a matrix `[out, in]`, or a vector."""
        rows, columns = prod(self.shape[: len(self.outputs)]), prod(self.shape[len(self.outputs) :])
        return (rows, columns) if self.outputs else (columns,)


def parameters(config: GemmaConfig) -> dict[str, Parameter]:
    """Returns all parameters of a model, by path: `embedder.weight`, `layers.{i}.attention.q`, ..., `final_norm`."""
    layer = _LAYER | (_LAYER_QK_NORMS if config.qk_norm else {}) | (_LAYER_POST_NORMS if config.post_norms else {})
    table = {
        "embedder.weight": "V E",
        **{f"layers.{index}.{path}": axes for index in range(config.num_layers) for path, axes in layer.items()},
        "final_norm": "E",
    }
    sizes = {
        "V": config.vocab_size,
        "E": config.embed_dim,
        "F": config.mlp_dim,
        "N": config.num_heads,
        "K": config.num_kv_heads,
        "D": config.head_dim,
    }
    return {path: _parameter(axes, sizes) for path, axes in table.items()}


def _parameter(axes: str, sizes: dict[str, int]) -> Parameter:
    outputs, _, inputs = axes.rpartition(" ")
    return Parameter(outputs, inputs, tuple(sizes[axis] for axis in outputs + inputs))
