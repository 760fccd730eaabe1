"""The tensors of a directory of safetensors files, by our parameters' paths. Norms are the raw w of 1 + w."""

from pathlib import Path

from sharding.checkpoint.binding import bind
from sharding.checkpoint.byte_range import ByteRange
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Tensors
from sharding.checkpoint.huggingface.names import stored_name
from sharding.checkpoint.huggingface.safetensors import read_header
from sharding.checkpoint.json_file import read_json
from sharding.config import GemmaConfig

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"

# Where the text model sits in a multimodal checkpoint, by age of the writer.
_TEXT_PREFIXES = ("language_model.", "model.language_model.")
_VISION_PREFIXES = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


def huggingface_tensors(directory: Path, config: GemmaConfig) -> Tensors:
    """Where the parameters of a model are.

    Raises:
      CheckpointError: a file or tensor is missing, superfluous, wrongly shaped, truncated or not understood.
    """
    stored: dict[str, ByteRange] = {}
    for file, names in _shards(directory).items():
        tensors = read_header(file)
        absent = sorted(names - tensors.keys())
        if absent:
            raise CheckpointError(f"{file}: tensor {absent[0]}, which {INDEX_FILE} places here, is missing.")
        for name, tensor in tensors.items():
            if _ignored(name):
                continue
            other = stored.setdefault(_text_name(name), tensor)
            if other is not tensor:
                raise CheckpointError(f"{file}: tensor {name} is in {other.file} too. Remove one.")
    return bind(config, stored, lambda path: stored_name(path, config), where=directory)


def _shards(directory: Path) -> dict[Path, set[str]]:
    """The safetensors files, each with the names that the index places in it (none without an index)."""
    index_file = directory / INDEX_FILE
    if not index_file.exists():
        single = directory / SINGLE_FILE
        if not single.exists():
            raise CheckpointError(f"{directory}: there is neither {SINGLE_FILE} nor {INDEX_FILE}.")
        return {single: set()}
    shards: dict[Path, set[str]] = {}
    weight_map = read_json(index_file).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index_file}: weight_map is not an object of tensor name to file name.")
    for name, shard in weight_map.items():
        file = directory / Path(shard).name
        if not file.is_file():
            raise CheckpointError(f"{index_file}: tensor {name} is in {shard}, which is absent from {directory}.")
        shards.setdefault(file, set()).add(name)
    return shards


def _ignored(name: str) -> bool:
    # The output projection is the embedding; other tools write it, or RoPE's constant frequencies, nevertheless.
    return name.endswith(("lm_head.weight", "rotary_emb.inv_freq")) or name.startswith(_VISION_PREFIXES)


def _text_name(name: str) -> str:
    for prefix in _TEXT_PREFIXES:
        if name.startswith(prefix):
            return "model." + name.removeprefix(prefix).removeprefix("model.")
    return name
