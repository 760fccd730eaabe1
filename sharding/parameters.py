"""The parameters of a Gemma: the one table from which shapes, shardings, sizes, initial values and loading derive.

Needs no JAX. Each parameter is written as the letters of its axes (see `sharding`), outputs before inputs: `"ND E"` is
a projection from the embedding to N heads of size D. A norm is a vector: `"E"`.
"""

from dataclasses import dataclass
from math import prod

from sharding.config import GemmaConfig
from sharding.quantization import Quantization

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
LORA_A, LORA_B = ".lora_a", ".lora_b"
"""What follows a projection's path in those of its adapters."""
_EMBEDDING = "V E"
_SENSITIVE = {"E ND", "E F"}
"""What loses most by int8, and is quantised as `int8-weights` instead; docs/quantisation.md has the figures. It leaves
int8 the projections of a normed input, which is whole on each device: scales of its tokens then cost no exchange."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """The axes of a parameter.

    Attributes:
      outputs: letters of the axes that a projection computes, which come first; none for a norm.
      inputs: letters of the axes that it sums over.
      shape: sizes of the axes, outputs first.
      quantization: of a matrix; None: stored as numbers of the activations' dtype.
    """

    outputs: str
    inputs: str
    shape: tuple[int, ...]
    quantization: Quantization | None = None

    @property
    def axes(self) -> str:
        """Letters of all axes, in the order of `shape`."""
        return self.outputs + self.inputs

    @property
    def scales_axes(self) -> str:
        """Letters of the axes of a quantised matrix's scales, in the order of `scales_shape`."""
        return self.axes if len(self.scales_shape) > len(self.outputs) else self.outputs

    @property
    def scales_shape(self) -> tuple[int, ...]:
        """Sizes of the axes of a quantised matrix's scales; a group of inputs counts as one.

        Raises:
          ValueError: the inputs are no whole number of groups.
        """
        assert self.quantization is not None
        outputs = len(self.outputs)
        return self.quantization.scales_shape(self.shape[:outputs], self.shape[outputs:])

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in every file format: a matrix `[out, in]`, or a vector."""
        return self._stored(self.shape)

    @property
    def stored_scales_shape(self) -> tuple[int, ...]:
        """The same of the scales: a vector `[out]`, or a matrix `[out, groups]`."""
        return self._stored(self.scales_shape)

    def _stored(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        outputs, inputs = shape[: len(self.outputs)], shape[len(self.outputs) :]
        return (*((prod(outputs),) if outputs else ()), *((prod(inputs),) if inputs else ()))


def parameters(config: GemmaConfig) -> dict[str, Parameter]:
    """Returns all parameters of a model, by path: `embedder.weight`, `layers.{i}.attention.q`, ..., `final_norm`."""
    layer = _LAYER | (_LAYER_QK_NORMS if config.qk_norm else {}) | (_LAYER_POST_NORMS if config.post_norms else {})
    table = {
        "embedder.weight": _EMBEDDING,
        **{f"layers.{index}.{path}": axes for index in range(config.num_layers) for path, axes in layer.items()},
        "final_norm": "E",
    }
    sizes = _sizes(config)
    return {path: _parameter(axes, sizes, _quantization(axes, config)) for path, axes in table.items()}


def adapter_parameters(config: GemmaConfig, slots: int, rank: int) -> dict[str, Parameter]:
    """Returns the parameters of LoRA adapters (arXiv 2106.09685) beside a model's, by path; none for 0 slots.

    Beside each projection W of a layer, as `layers.{i}.attention.q`, lie A as `layers.{i}.attention.q.lora_a` and B as
    `layers.{i}.attention.q.lora_b`: with an adapter's slice of both, W becomes W + B A. They are never quantised.

    Args:
      config: of the model.
      slots: S, adapters that are loaded at a time.
      rank: R, of A and B; those of an adapter with a lower one end with zeros.
    """
    sizes = _sizes(config) | {"S": slots, "R": rank}
    table: dict[str, str] = {}
    for index in range(config.num_layers if slots else 0):
        for path, axes in _LAYER.items():
            outputs, _, inputs = axes.rpartition(" ")
            if outputs:
                table[f"layers.{index}.{path}{LORA_A}"] = f"SR {inputs}"
                table[f"layers.{index}.{path}{LORA_B}"] = f"{outputs} SR"
    return {path: _parameter(axes, sizes, None) for path, axes in table.items()}


def _sizes(config: GemmaConfig) -> dict[str, int]:
    return {
        "V": config.vocab_size,
        "E": config.embed_dim,
        "F": config.mlp_dim,
        "N": config.num_heads,
        "K": config.num_kv_heads,
        "D": config.head_dim,
    }


def _quantization(axes: str, config: GemmaConfig) -> Quantization | None:
    if axes == _EMBEDDING:
        return config.embedding_quantization
    if " " not in axes:
        return None  # a norm
    if config.quantization is Quantization.INT8 and axes in _SENSITIVE:
        return Quantization.INT8_WEIGHTS
    return config.quantization


def _parameter(axes: str, sizes: dict[str, int], quantization: Quantization | None) -> Parameter:
    outputs, _, inputs = axes.rpartition(" ")
    return Parameter(outputs, inputs, tuple(sizes[axis] for axis in outputs + inputs), quantization)
