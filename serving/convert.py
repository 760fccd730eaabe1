"""A checkpoint made ready for serving: decoded, in files that hosts read side by side, its tokenizer beside it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt

from serving.gateway.text.tokenizers import load_tokenizer
from serving.gateway.text.tokenizers.gguf import sentencepiece_model
from serving.partial_directory import partial_directory
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.writer import write_huggingface

_DTYPES: dict[str, npt.DTypeLike] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
_TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def convert(
    source: Path,
    target: Path,
    dtype: str,
    quantize: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Converts a GGUF file or a directory of Hugging Face files to a directory of Hugging Face files.

    The target appears complete or not at all. What a killed conversion left beside it, the next one removes.

    Args:
      source: what to convert.
      target: a directory that is not there yet, or empty.
      dtype: of its weights, `float32` or `bfloat16`; of a quantised one, of its norms.
      quantize: `int8` or `int4`; None: as they are in the source, blocks decoded.
      on_progress: called as `on_progress(done, total)`, in bytes.

    Raises:
      CheckpointError: the source is no complete checkpoint of a supported model.
      ValueError: the source has no tokenizer, or the target is not empty, or is being written by another process.
      OSError: the target cannot be written.
    """
    _check_free(target)
    checkpoint = open_checkpoint(source).quantised(quantize)
    load_tokenizer(source)  # raises what is wrong with it, before hours of work
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_directory(target) as partial:
        _check_free(target)  # again: another conversion may have ended meanwhile
        _write_tokenizer(source, partial)
        write_huggingface(checkpoint, partial, _DTYPES[dtype], on_progress)


def _check_free(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is there already and not empty. Remove it, or name another target.")


def _write_tokenizer(source: Path, target: Path) -> None:
    if source.is_file():
        (target / "tokenizer.model").write_bytes(sentencepiece_model(source).SerializeToString())
        return
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)  # not its mode, which may be its owner's alone
