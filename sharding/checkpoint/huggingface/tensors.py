"""The tensors of a directory of safetensors files, by our parameters' paths. Norms are the raw w of 1 + w."""

from pathlib import Path

from sharding.checkpoint.binding import bind
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Tensors
from sharding.checkpoint.huggingface.names import stored_name
from sharding.checkpoint.huggingface.safetensors import read_header
from sharding.checkpoint.json_file import read_json
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.other_forms import other_form
from sharding.checkpoint.tied_head import drop_tied_head
from sharding.config import GemmaConfig

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
_NOTHING = f"there is neither {SINGLE_FILE} nor {INDEX_FILE}."

# Where the text model sits in a multimodal checkpoint, by age of the writer.
_TEXT_PREFIXES = ("language_model.", "model.language_model.")
_VISION_PREFIXES = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


def huggingface_tensors(path: Path, config: GemmaConfig) -> Tensors:
    """Where the parameters of a model are, in a directory or the one with this file.

    Raises:
      CheckpointError: a file or tensor is missing, superfluous, wrongly shaped, truncated or not understood.
    """
    stored: dict[str, Matrix] = {}
    where, shards = _shards(path)
    for file, names in shards.items():
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
    drop_tied_head(stored, HEAD, EMBEDDING)
    return bind(config, stored, lambda parameter: stored_name(parameter, config), where=where)


def _shards(path: Path) -> tuple[Path, dict[Path, set[str]]]:
    """What to name where a tensor is missing, and the files, each with the names that the index places in it.

    A file that was named is the only one, without names, unless it belongs to the index beside it.
    """
    directory = path if path.is_dir() else path.parent
    index_file, single = directory / INDEX_FILE, directory / SINGLE_FILE if path.is_dir() else path
    if not index_file.exists():
        if not single.is_file():
            raise CheckpointError(f"{directory}: {other_form(directory) or _NOTHING}")
        return single, {single: set()}
    shards: dict[Path, set[str]] = {}
    weight_map = read_json(index_file).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index_file}: weight_map is not an object of tensor name to file name.")
    for name, shard in weight_map.items():
        file = directory / Path(shard).name
        if not file.is_file():
            raise CheckpointError(f"{index_file}: tensor {name} is in {shard}, which is absent from {directory}.")
        shards.setdefault(file, set()).add(name)
    return (single, {single: set()}) if path.is_file() and path not in shards else (index_file, shards)


def _ignored(name: str) -> bool:
    # RoPE's frequencies are constants; other tools write them nevertheless.
    return name.endswith("rotary_emb.inv_freq") or name.startswith(_VISION_PREFIXES)


def _text_name(name: str) -> str:
    # A model in which peft has put adapters, saved as a whole. Its lora_A and lora_B are refused as not used.
    name = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
    if name.endswith(HEAD):
        return HEAD
    for prefix in _TEXT_PREFIXES:
        if name.startswith(prefix):
            return "model." + name.removeprefix(prefix).removeprefix("model.")
    return name
