"""Checkpoints of Keras (KerasNLP, KerasHub): a directory of `config.json`, `model.weights.h5` and a tokenizer."""

from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Format
from sharding.checkpoint.json_file import read_json
from sharding.checkpoint.keras.config import CONFIG_FILE, keras_config
from sharding.checkpoint.keras.tensors import INDEX_FILE, SINGLE_FILE, keras_tensors
from sharding.checkpoint.tokenizer import StoredTokenizer, TokenizerKind, whole_file

_TOKENIZER_FILE = "assets/tokenizer/vocabulary.spm"


def _recognises(path: Path) -> bool:
    if any((path / name).is_file() for name in (SINGLE_FILE, INDEX_FILE)):
        return True
    if not (path / CONFIG_FILE).is_file():
        return False
    try:
        return "class_name" in read_json(path / CONFIG_FILE)
    except CheckpointError:
        return False


def _read_tokenizer(directory: Path) -> StoredTokenizer | None:
    file = directory / _TOKENIZER_FILE
    return whole_file(file, TokenizerKind.SENTENCEPIECE) if file.is_file() else None


KERAS = Format("Keras", _recognises, keras_config, keras_tensors, _read_tokenizer)
