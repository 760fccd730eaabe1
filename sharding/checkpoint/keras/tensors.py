"""The tensors of a Keras preset, by our parameters' paths. Norms are the raw w of 1 + w.

Names: HDF5 groups that Keras names after classes and attributes, `layers/gemma_decoder_block_1/attention/query_dense`
(`keras/src/saving/saving_lib.py`); the first block has no number. Other writers have other groups around the same ends.
"""

import re
from pathlib import Path

from sharding.checkpoint.binding import bind
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Tensors
from sharding.checkpoint.json_file import read_json
from sharding.checkpoint.keras.hdf5 import Dataset, read_datasets
from sharding.checkpoint.matrix import Matrix
from sharding.config import GemmaConfig
from sharding.parameters import Parameter, parameters

SINGLE_FILE = "model.weights.h5"
INDEX_FILE = "model.weights.json"

_LAYER = {
    "pre_attention_norm": ("pre_attention_norm", "E"),
    "attention.q": ("attention/query_dense", "NED"),
    "attention.k": ("attention/key_dense", "KED"),
    "attention.v": ("attention/value_dense", "KED"),
    "attention.o": ("attention/output_dense", "NDE"),
    "pre_mlp_norm": ("pre_ffw_norm", "E"),
    "mlp.gate": ("gating_ffw", "EF"),
    "mlp.up": ("gating_ffw_2", "EF"),
    "mlp.down": ("ffw_linear", "FE"),
}
"""Group in a decoder block, and letters of the axes there."""
_EMBEDDING, _FINAL_NORM = "token_embedding", "final_normalization"
_BLOCK = re.compile(r"(?:.*/)?(?:gemma_)?decoder_block(?:_(\d{1,9}))?/(.+)/vars/0")
_EMBEDDING_NAME = re.compile(r"(?:.*/)?(?:reversible|token)_embedding/vars/0")
_FINAL_NORM_NAME = re.compile(r"(?:.*/)?(?:rms|final)_normalization/vars/0")


def keras_tensors(directory: Path, config: GemmaConfig) -> Tensors:
    """Where the parameters of a model are.

    Raises:
      CheckpointError: a file or tensor is missing, superfluous, wrongly shaped or not understood.
    """
    datasets: dict[str, Dataset] = {}
    for file in _files(directory):
        for stored_name, dataset in read_datasets(file, _is_weight).items():
            other = datasets.setdefault(_canonical(stored_name), dataset)
            if other is not dataset:
                raise CheckpointError(
                    f"{file}: tensor {stored_name} is {other.stored.name} of {other.stored.file} too. Remove one."
                )
    stored: dict[str, Matrix] = {
        name: dataset.matrix(range(len(dataset.shape)), len(dataset.shape) - 1) for name, dataset in datasets.items()
    }
    for path, parameter in parameters(config).items():
        name, axes = _place(path)
        if name in datasets:
            stored[name] = _matrix(datasets[name], axes, parameter)
    return bind(config, stored, lambda path: _place(path)[0], where=directory)


def _files(directory: Path) -> list[Path]:
    index_file, single = directory / INDEX_FILE, directory / SINGLE_FILE
    if not index_file.exists():
        if not single.is_file():
            raise CheckpointError(f"{directory}: there is neither {SINGLE_FILE} nor {INDEX_FILE}.")
        return [single]
    weight_map = read_json(index_file).get("weight_map")
    # Keras writes a list where it had to part a group.
    shards = [
        shard
        for place in (weight_map.values() if isinstance(weight_map, dict) else [None])
        for shard in (place if isinstance(place, list) else [place])
    ]
    names = [shard for shard in dict.fromkeys(map(str, shards)) if shard]
    if not names or not all(isinstance(shard, str) for shard in shards):
        raise CheckpointError(f"{index_file}: weight_map is not an object of group to file names.")
    files = [directory / Path(name).name for name in names]
    for name, file in zip(names, files, strict=True):
        if not file.is_file():
            raise CheckpointError(f"{index_file}: names {name}, which is absent from {directory}.")
    return files


def _is_weight(stored_name: str) -> bool:
    # What a training needs besides: states of dropout and of the optimiser.
    return "seed_generator" not in stored_name and not stored_name.startswith("optimizer/")


def _canonical(stored_name: str) -> str:
    """A name that all writers have in common, or what it is."""
    if found := _BLOCK.fullmatch(stored_name):
        return f"decoder_block_{int(found[1] or 0)}/{found[2]}"
    if _EMBEDDING_NAME.fullmatch(stored_name):
        return _EMBEDDING
    return _FINAL_NORM if _FINAL_NORM_NAME.fullmatch(stored_name) else stored_name


def _place(path: str) -> tuple[str, str]:
    """What a parameter is called by all writers, and letters of its axes there."""
    match path.split(".", 2):
        case ["layers", layer, parameter]:
            name, axes = _LAYER[parameter]
            return f"decoder_block_{layer}/{name}", axes
        case ["embedder", "weight"]:
            return _EMBEDDING, "VE"
        case _:
            return _FINAL_NORM, "E"


def _matrix(dataset: Dataset, axes: str, parameter: Parameter) -> Matrix:
    expected = tuple(parameter.shape[parameter.axes.index(axis)] for axis in axes)
    if dataset.shape != expected:
        raise CheckpointError(
            f"{dataset.stored.file}: tensor {dataset.stored.name} has shape {dataset.shape}; the configuration asks "
            f"for {expected}."
        )
    return dataset.matrix((axes.index(axis) for axis in parameter.axes), len(parameter.outputs))
