"""The head that some writers store although it is the embedding."""

import numpy as np

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix

_COMPARED_ROWS = 64


def drop_tied_head(stored: dict[str, Matrix], head_name: str, embedding_name: str) -> None:
    """Takes a head out of the tensors of a checkpoint. That it is the embedding is seen from some rows all over it.

    Raises:
      CheckpointError: it is another matrix; a Gemma has none of its own.
    """
    head, embedding = stored.pop(head_name, None), stored.get(embedding_name)
    if head is None or embedding is None:
        return
    if head.shape == embedding.shape:
        rows, columns = embedding.shape
        numbers = (
            [matrix.numbers(slice(row, row + 1), slice(0, columns)).astype(np.float32) for matrix in (head, embedding)]
            for row in range(0, rows, -(-rows // _COMPARED_ROWS))
        )
        if all(np.array_equal(one, other) for one, other in numbers):
            return
    raise CheckpointError(
        f"{head.file}: tensor {head.name} differs from {embedding.name}, and a Gemma's head is its embedding. "
        "Training that untied them cannot be served."
    )
