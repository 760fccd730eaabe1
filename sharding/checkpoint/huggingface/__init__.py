"""Checkpoints of Hugging Face transformers: a directory of `config.json` and safetensors files."""

from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Format
from sharding.checkpoint.huggingface.config import gemma_config_from_hf
from sharding.checkpoint.huggingface.tensors import huggingface_tensors
from sharding.checkpoint.json_file import read_json
from sharding.checkpoint.tokenizer import StoredTokenizer, TokenizerKind, tokenizer_file
from sharding.config import GemmaConfig

CONFIG_FILE = "config.json"


def _recognises(path: Path) -> bool:
    return path.is_dir()


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


def _read_config(directory: Path) -> GemmaConfig:
    return read_config_file(directory / CONFIG_FILE)


def _read_tokenizer(directory: Path) -> StoredTokenizer | None:
    files = (directory / kind for kind in TokenizerKind)
    return next((tokenizer_file(file) for file in files if file.is_file()), None)


HUGGING_FACE = Format("Hugging Face safetensors", _recognises, _read_config, huggingface_tensors, _read_tokenizer)
