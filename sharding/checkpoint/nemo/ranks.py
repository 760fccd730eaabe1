"""Flat checkpoints of NeMo 1: one file of torch.save, or one for each rank of tensor and pipeline parallelism.

Folders: nemo/utils/model_utils.py of NeMo (`inject_model_parallel_rank`). How Megatron cuts weights: column parallel
layers (QKV, fc1, the embedding) by rows, row parallel ones (the attention's projection, fc2) by columns; fc1 holds a
rank's part of the gate over its part of the up projection. A of an adapter (`linear_in`) is cut as the layer's inputs
are, or by rows, B (`linear_out`) by rows: nemo/collections/nlp/modules/common/megatron/adapters/parallel_adapters.py.
Layers are counted from 0 in each stage.
"""

import re
from collections.abc import Callable
from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.nemo.members import Members
from sharding.checkpoint.nemo.names import LAYER, canonical
from sharding.checkpoint.torch_file import read_torch_file
from sharding.checkpoint.views import Rows, Tiles

WEIGHTS = "model_weights.ckpt"

_RANK = re.compile(r"(?:tp_rank_(\d{1,4})_pp_rank_(\d{1,4})|(?:mp|tp)_rank_(\d{1,4}))/" + re.escape(WEIGHTS))
_CUT_BY_COLUMNS = (
    *("linear_proj.weight", "linear_fc2.weight"),
    *("lora_dense_attention_adapter.linear_in.weight", "lora_4htoh_adapter.linear_in.weight"),
)
_CUT_IN_HALVES = ("linear_fc1.weight", "lora_hto4h_adapter.linear_out.weight")


def has_ranks(members: Members) -> bool:
    """Whether there are weights of this form."""
    return WEIGHTS in members.extents or any(map(_RANK.fullmatch, members.extents))


def read_ranks(
    members: Members, wanted: Callable[[str], bool], layers: int, parallel: tuple[int, int]
) -> dict[str, Matrix]:
    """The tensors whose keys are wanted, whole, by key; layers counted through.

    Args:
      members: of the checkpoint.
      wanted: says which keys matter.
      layers: of the model.
      parallel: the ranks of tensor and of pipeline parallelism that the configuration tells of.

    Raises:
      CheckpointError: a file is damaged, or that of a rank is missing.
    """
    files = _files(members)
    tensor_ranks, stages = (1 + max(ranks) for ranks in zip(*files, strict=True))
    if (tensor_ranks, stages) != parallel and WEIGHTS not in members.extents:
        raise CheckpointError(
            f"{members.path}: has the files of {tensor_ranks} x {stages} tensor and pipeline ranks, where its "
            f"configuration tells of {parallel[0]} x {parallel[1]}."
        )
    if layers % stages:
        raise CheckpointError(f"{members.path}: {layers} layers do not divide by its {stages} pipeline stages.")
    tensors: dict[str, Matrix] = {}
    for stage in range(stages):
        ranks: list[dict[str, Matrix]] = []
        for rank in range(tensor_ranks):
            name = files.get((rank, stage))
            if name is None:
                raise CheckpointError(f"{members.path}: the file of tensor rank {rank}, stage {stage} is missing.")
            extent = members.extents[name]
            stored = read_torch_file(extent.file, extent.offset, extent.size)
            ranks.append({canonical(key): matrix for key, matrix in stored.items() if wanted(key)})
        for key in dict.fromkeys(key for found in ranks for key in found):
            for rank, found in enumerate(ranks):
                if key not in found:
                    raise CheckpointError(f"{members.path}: tensor {key} is missing in {files[rank, stage]}.")
            tensors[_counted_through(key, stage * (layers // stages))] = _joined(
                key, members.path, [found[key] for found in ranks]
            )
    return tensors


def _files(members: Members) -> dict[tuple[int, int], str]:
    ranks = {name: match for name in members.extents if (match := _RANK.fullmatch(name))}
    if WEIGHTS in members.extents:
        if ranks:
            raise _two_of_one(members.path, WEIGHTS, min(ranks))
        return {(0, 0): WEIGHTS}
    found: dict[tuple[int, int], str] = {}
    for name, match in ranks.items():
        tensor_rank, stage, only = match.groups()
        other = found.setdefault((int(tensor_rank or only), int(stage or 0)), name)
        if other != name:
            raise _two_of_one(members.path, other, name)
    return found


def _two_of_one(where: Path, one: str, other: str) -> CheckpointError:
    return CheckpointError(f"{where}: has both {one} and {other}. Remove what is not of this model.")


def _counted_through(key: str, first: int) -> str:
    match = LAYER.fullmatch(key)
    return f"decoder.layers.{int(match[1]) + first}.{match[2]}" if match else key


def _joined(key: str, where: Path, parts: list[Matrix]) -> Matrix:
    if len(parts) == 1 or "norm" in key:
        return parts[0]  # norms are the same on all ranks
    if any(part.shape != parts[0].shape for part in parts):
        raise CheckpointError(f"{where}: tensor {key} has other shapes on other ranks.")
    rows, columns = parts[0].shape
    if key.endswith(_CUT_BY_COLUMNS):
        tiles = [(0, rank * columns, part) for rank, part in enumerate(parts)]
        return Tiles.of(key, where, (rows, columns * len(parts)), tiles)
    if key.endswith(_CUT_IN_HALVES):
        halves = range(rows // 2), range(rows // 2, rows)
        return Rows.of([(part, half) for half in halves for part in parts])
    return Rows.of([(part, range(rows)) for part in parts])
