"""Checkpoints of Hugging Face transformers: a directory of `config.json` and safetensors files, or one of the files."""

from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Format
from sharding.checkpoint.huggingface.config import gemma_config_from_hf
from sharding.checkpoint.huggingface.safetensors import begins_as_safetensors
from sharding.checkpoint.huggingface.tensors import INDEX_FILE, SINGLE_FILE, huggingface_tensors
from sharding.checkpoint.json_file import read_json
from sharding.checkpoint.other_forms import other_form
from sharding.checkpoint.tokenizer import StoredTokenizer, TokenizerKind, tokenizer_file
from sharding.config import GemmaConfig

CONFIG_FILE = "config.json"


def _recognises(path: Path) -> bool:
    if path.is_file():
        return begins_as_safetensors(path)
    if not any((path / name).is_file() for name in (SINGLE_FILE, INDEX_FILE)):
        return False
    try:
        return "model_type" in read_json(path / CONFIG_FILE)
    except CheckpointError:
        return False


def read_config_file(file: Path) -> GemmaConfig:
    """The model that a `config.json` describes.

    Raises:
      CheckpointError: it is missing, or describes no supported model.
    """
    config = read_json(file)
    try:
        return gemma_config_from_hf(config)
    except (CheckpointError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def read_config(path: Path) -> GemmaConfig:
    """The model in a directory, or in the one with this file.

    Raises:
      CheckpointError: there is no config.json, or it describes no supported model.
    """
    directory = _directory(path)
    if not (directory / CONFIG_FILE).exists() and (other := other_form(directory)):
        raise CheckpointError(f"{directory}: {other}")
    return read_config_file(directory / CONFIG_FILE)


def read_tokenizer(path: Path) -> StoredTokenizer | None:
    """The tokenizer beside the weights."""
    directory = _directory(path)
    files = (directory / kind for kind in TokenizerKind)
    return next((tokenizer_file(file) for file in files if file.is_file()), None)


def _directory(path: Path) -> Path:
    return path if path.is_dir() else path.parent


HUGGING_FACE = Format("Hugging Face safetensors", _recognises, read_config, huggingface_tensors, read_tokenizer)
