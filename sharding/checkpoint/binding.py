"""The binding of a model's parameters to the tensors of a file."""

from collections.abc import Callable, Mapping

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.source import StoredTensor, TensorSource
from sharding.config import GemmaConfig
from sharding.parameters import parameters


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
        if tensor.shape != parameter.stored_shape:
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.name} has shape {tensor.shape}; the configuration asks for "
                f"{parameter.stored_shape}."
            )
        sources[path] = TensorSource(stored=tensor, shape=parameter.shape, row_axes=len(parameter.outputs))
    if unused:
        extra = unused[min(unused)]
        more = f" (and {len(unused) - 1} more)" if len(unused) > 1 else ""
        raise CheckpointError(f"{extra.file}: tensor {extra.name}{more} is not used by this model.")
    return sources
