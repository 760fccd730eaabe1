"""GroupedMatrix: integers with a scale for each group of neighbours in a row, as quantised weights of ours are."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.views import Scaled
from sharding.config import GemmaConfig
from sharding.quantization import GROUP, Quantization


@dataclass(frozen=True, kw_only=True)
class GroupedMatrix(Scaled):
    """A matrix of which the file has values, and scales [rows, columns / GROUP].

    Attributes:
      quantization: that holds both as they are.
    """

    quantization: Quantization


def kept(config: GemmaConfig, projections: Iterable[Matrix], embedding: Matrix) -> GemmaConfig:
    """Returns the model, quantised in the way that keeps what is stored exactly as it is; not quantised if none does.

    The embedding is kept in a way of its own, or not quantised where the file has numbers or blocks of another kind.
    """
    kinds = {_quantization(matrix) for matrix in projections}
    inputs = (config.embed_dim, config.mlp_dim, config.head_dim)
    if None in kinds or any(size % GROUP for size in inputs):
        return config
    least = Quantization.INT4 if kinds == {Quantization.INT4} else Quantization.INT8_GROUPS
    return replace(config, quantization=least, embedding_quantization=_quantization(embedding))


def _quantization(matrix: Matrix) -> Quantization | None:
    return matrix.quantization if isinstance(matrix, GroupedMatrix) else None
