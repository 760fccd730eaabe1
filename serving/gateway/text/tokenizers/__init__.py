"""The formats a tokenizer comes in; `load_tokenizer` picks one by the file's name."""

from pathlib import Path

from serving.gateway.text.tokenizer import Tokenizer
from serving.gateway.text.tokenizers.gguf import load_gguf
from serving.gateway.text.tokenizers.huggingface import load_tokenizer_json
from serving.gateway.text.tokenizers.sentencepiece import load_sentencepiece

_LOADERS = {".model": load_sentencepiece, ".json": load_tokenizer_json, ".gguf": load_gguf}
_NAMES_IN_CHECKPOINTS = ("tokenizer.model", "tokenizer.json")


def load_tokenizer(checkpoint: Path, tokenizer: Path | None = None) -> Tokenizer:
    """The tokenizer of a checkpoint.

    Args:
      checkpoint: a GGUF file, which has its tokenizer in its metadata, or a directory of Hugging Face files.
      tokenizer: a `.model`, `.json` or `.gguf` file to take it from instead.

    Raises:
      ValueError: there is none, or it is not a Gemma tokenizer; names the file.
    """
    path = tokenizer or _find(checkpoint)
    loader = _LOADERS.get(path.suffix)
    if loader is None:
        raise ValueError(f"{path}: a tokenizer is a file named *.model, *.json or *.gguf.")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file. Point `tokenizer` at the model's tokenizer.")
    try:
        return loader(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _find(checkpoint: Path) -> Path:
    if not checkpoint.is_dir():
        return checkpoint
    for name in _NAMES_IN_CHECKPOINTS:
        if (checkpoint / name).is_file():
            return checkpoint / name
    raise ValueError(
        f"{checkpoint}: has neither {' nor '.join(_NAMES_IN_CHECKPOINTS)}. Point `tokenizer` at the model's tokenizer."
    )
