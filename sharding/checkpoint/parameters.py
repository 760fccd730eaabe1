"""The parameters of a Gemma: their paths, their shapes, and their binding to the tensors of a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.source import StoredTensor, TensorSource
from sharding.config import GemmaConfig


@dataclass(frozen=True, slots=True)
class ParameterShape:
    """A parameter's shape; its first `row_axes` axes are the rows (outputs) of the matrix that formats store."""

    shape: tuple[int, ...]
    row_axes: int

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape in a file: `[out, in]`, or a vector."""
        rows = columns = 1
        for axis, size in enumerate(self.shape):
            rows, columns = (rows * size, columns) if axis < self.row_axes else (rows, columns * size)
        return (rows, columns) if self.row_axes else (columns,)


def layer_parameters(config: GemmaConfig) -> dict[str, ParameterShape]:
    """The parameters of one layer, by their path below `layers.{i}.`."""
    embed, heads, kv_heads, head = config.embed_dim, config.num_heads, config.num_kv_heads, config.head_dim
    norm, head_norm = ParameterShape((embed,), 0), ParameterShape((head,), 0)
    shapes = {
        "pre_attention_norm": norm,
        "attention.q": ParameterShape((heads, head, embed), 2),
        "attention.k": ParameterShape((kv_heads, head, embed), 2),
        "attention.v": ParameterShape((kv_heads, head, embed), 2),
        "attention.o": ParameterShape((embed, heads, head), 1),
        "pre_mlp_norm": norm,
        "mlp.gate": ParameterShape((config.mlp_dim, embed), 1),
        "mlp.up": ParameterShape((config.mlp_dim, embed), 1),
        "mlp.down": ParameterShape((embed, config.mlp_dim), 1),
    }
    if config.qk_norm:
        shapes |= {"attention.q_norm": head_norm, "attention.k_norm": head_norm}
    if config.post_norms:
        shapes |= {"post_attention_norm": norm, "post_mlp_norm": norm}
    return shapes


def parameters(config: GemmaConfig) -> dict[str, ParameterShape]:
    """All parameters of a model, by path: `embedder.weight`, `layers.{i}.attention.q`, ..., `final_norm`."""
    layer = layer_parameters(config)
    return {
        "embedder.weight": ParameterShape((config.vocab_size, config.embed_dim), 1),
        **{f"layers.{i}.{name}": shape for i in range(config.num_layers) for name, shape in layer.items()},
        "final_norm": ParameterShape((config.embed_dim,), 0),
    }


def bind(
    config: GemmaConfig,
    stored: Mapping[str, StoredTensor],
    name_of: Callable[[str], str],
    *,
    where: str,
) -> dict[str, TensorSource]:
    """Finds the stored tensor of every parameter.

    Args:
      config: says which parameters there are.
      stored: the tensors of the checkpoint by their name in it, without those that may be ignored.
      name_of: a parameter's path to the name of its tensor.
      where: the file or directory, for error messages.

    Raises:
      CheckpointError: for a missing, a superfluous or a wrongly shaped tensor.
    """
    sources = {}
    unused = dict(stored)
    for path, parameter in parameters(config).items():
        name = name_of(path)
        tensor = unused.pop(name, None)
        if tensor is None:
            raise CheckpointError(f"{where}: tensor {name} (parameter {path}) is missing.")
        if tensor.shape != parameter.stored:
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.name} has shape {tensor.shape}; the configuration asks for "
                f"{parameter.stored}."
            )
        sources[path] = TensorSource(stored=tensor, shape=parameter.shape, row_axes=parameter.row_axes)
    if unused:
        extra = unused[min(unused)]
        more = f" (and {len(unused) - 1} more)" if len(unused) > 1 else ""
        raise CheckpointError(f"{extra.file}: tensor {extra.name}{more} is not used by this model.")
    return sources
