"""The tensors of a NeMo checkpoint, in whichever of its three ways they are stored."""

from collections.abc import Callable

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.nemo.members import Members
from sharding.checkpoint.nemo.ranks import WEIGHTS, has_ranks, read_ranks
from sharding.checkpoint.nemo.torch_dist import METADATA, read_torch_dist
from sharding.checkpoint.nemo.zarr import DESCRIPTION, read_zarr


def read_weights(
    members: Members, folder: str, wanted: Callable[[str], bool], layers: int, parallel: tuple[int, int]
) -> dict[str, Matrix]:
    """The tensors whose keys are wanted, by key.

    Args:
      members: of the checkpoint.
      folder: that a distributed checkpoint is in.
      wanted: says which keys matter.
      layers: of the model.
      parallel: the ranks of tensor and of pipeline parallelism that wrote flat files.

    Raises:
      CheckpointError: there are none, or they are damaged.
    """
    distributed = members.below(folder)
    if METADATA in distributed.extents:
        return read_torch_dist(distributed, wanted)
    if any(name.endswith("/" + DESCRIPTION) for name in distributed.extents):
        return read_zarr(distributed, wanted)
    if has_ranks(members):
        return read_ranks(members, wanted, layers, parallel)
    raise CheckpointError(
        f"{members.path}: has no weights: neither {WEIGHTS} nor a distributed checkpoint in {folder}/."
    )
