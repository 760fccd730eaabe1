"""The configuration and tensors of Google's Flax Gemma of February 2024, by our parameters' paths.

Names and axes: https://github.com/google-deepmind/gemma, `gemma/modules.py` of its first release. Norms are the raw w
of 1 + w.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from sharding.checkpoint.binding import bind
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import MAX_LAYERS, size
from sharding.checkpoint.format import Tensors
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.orbax.arrays import OrbaxArray, open_arrays
from sharding.config import CODEGEMMA_2B, GemmaConfig
from sharding.parameters import Parameter, parameters

_PADDED = 256_128
"""Rows of the published embeddings: those of the vocabulary, and 128 that no token has. Any other count is kept."""


class _Place(NamedTuple):
    """Where a parameter is: an array, letters of the axes there, and which entry of an axis before them."""

    array: str
    axes: str
    entry: int | None = None
    entries: int = 1

    @property
    def name(self) -> str:
        return self.array if self.entry is None else f"{self.array}[{self.entry}]"


_LAYER = {
    "pre_attention_norm": _Place("pre_attention_norm.scale", "E"),
    "attention.q": _Place("attn.q_einsum.w", "NED"),
    "attention.k": _Place("attn.kv_einsum.w", "KED", 0, 2),
    "attention.v": _Place("attn.kv_einsum.w", "KED", 1, 2),
    "attention.o": _Place("attn.attn_vec_einsum.w", "NDE"),
    "pre_mlp_norm": _Place("pre_ffw_norm.scale", "E"),
    "mlp.gate": _Place("mlp.gating_einsum.w", "EF", 0, 2),
    "mlp.up": _Place("mlp.gating_einsum.w", "EF", 1, 2),
    "mlp.down": _Place("mlp.linear.w", "FE"),
}
# Where there are as many key heads as query heads, the three are one array.
_EQUAL_HEADS = {
    "attention.q": _Place("attn.qkv_einsum.w", "NED", 0, 3),
    "attention.k": _Place("attn.qkv_einsum.w", "KED", 1, 3),
    "attention.v": _Place("attn.qkv_einsum.w", "KED", 2, 3),
}


def orbax_config(directory: Path) -> GemmaConfig:
    """The model that the shapes of the arrays give; nothing else describes it.

    Raises:
      CheckpointError: they are not those of a Gemma 1.
    """
    arrays = open_arrays(directory)
    place = _places(arrays)
    queries, keys, down, embedding = (
        _array(directory, arrays, place(path)).shape
        for path in ("layers.0.attention.q", "layers.0.attention.k", "layers.0.mlp.down", "embedder.weight")
    )
    layers = {int(found[1]) for name in arrays if (found := re.match(r"transformer\.layer_(\d{1,9})\.", name))}
    try:
        return GemmaConfig(
            vocab_size=CODEGEMMA_2B.vocab_size if embedding[0] == _PADDED else size("vocabulary", embedding[0]),
            embed_dim=size("width", embedding[1]),
            mlp_dim=size("MLP width", down[0]),
            num_layers=size("layers", max(layers) + 1, MAX_LAYERS),
            num_heads=size("heads", queries[0]),
            num_kv_heads=size("key heads", keys[0]),
            head_dim=size("head size", queries[2]),
            query_scale=queries[2] ** -0.5,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{directory}: {error}") from error


def orbax_tensors(directory: Path, config: GemmaConfig) -> Tensors:
    """Where the parameters of a model are.

    Raises:
      CheckpointError: a tensor is missing, superfluous or wrongly shaped.
    """
    arrays = open_arrays(directory)
    place = _places(arrays)
    stored: dict[str, Matrix] = {}
    unused = dict(arrays)
    for path, parameter in parameters(config).items():
        found = place(path)
        array = _array(directory, arrays, found)
        unused.pop(found.array, None)
        stored[found.name] = _matrix(array, found.axes, parameter)
    stored |= {name: array.matrix(len(array.shape) - 1) for name, array in unused.items()}
    return bind(config, stored, lambda path: place(path).name, where=directory)


def _places(arrays: Mapping[str, OrbaxArray]) -> Callable[[str], _Place]:
    """Gives a parameter's place by its path."""
    equal_heads = "transformer.layer_0." + _EQUAL_HEADS["attention.q"].array in arrays
    layer_places = _LAYER | (_EQUAL_HEADS if equal_heads else {})

    def place(path: str) -> _Place:
        match path.split(".", 2):
            case ["layers", layer, parameter]:
                found = layer_places[parameter]
                return found._replace(array=f"transformer.layer_{layer}.{found.array}")
            case ["embedder", "weight"]:
                return _Place("transformer.embedder.input_embedding", "VE")
            case _:
                return _Place("transformer.final_norm.scale", "E")

    return place


def _array(directory: Path, arrays: Mapping[str, OrbaxArray], place: _Place) -> OrbaxArray:
    array = arrays.get(place.array)
    if array is None:
        raise CheckpointError(f"{directory}: tensor {place.array} is missing.")
    leading = () if place.entry is None else (place.entries,)
    axes = array.shape[len(leading) :]
    if len(axes) != len(place.axes) or array.shape[: len(leading)] != leading:
        expected = "".join(f"{count}, " for count in leading) + ", ".join(place.axes)
        raise CheckpointError(f"{array.file}: tensor {array.name} has shape {array.shape}; ({expected}) is expected.")
    return array if place.entry is None else array.entry(place.entry)


def _matrix(array: OrbaxArray, axes: str, parameter: Parameter) -> Matrix:
    view = array.transposed(axes.index(axis) for axis in parameter.axes)
    if parameter.outputs == "V":
        view = view.first(parameter.shape[0])  # without the padding
    if view.shape != parameter.shape:
        raise CheckpointError(
            f"{array.file}: tensor {array.name} of axes {axes} has shape {array.shape}; the configuration asks for "
            f"{tuple(parameter.shape[parameter.axes.index(axis)] for axis in axes)}."
        )
    return view.matrix(len(parameter.outputs))
