"""A checkpoint made ready for serving: decoded, in files that hosts read side by side, its tokenizer beside it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt

from serving.partial_directory import partial_directory
from sharding.checkpoint import CheckpointError, open_checkpoint
from sharding.checkpoint.tokenizer import StoredTokenizer
from sharding.checkpoint.writer import write_huggingface

_DTYPES: dict[str, npt.DTypeLike] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
_BESIDE_TOKENIZERS = ("tokenizer_config.json", "special_tokens_map.json")


def convert(
    source: Path,
    target: Path,
    dtype: str,
    quantize: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Converts a checkpoint of any form to a directory of Hugging Face files.

    The target appears complete or not at all. What a killed conversion left beside it, the next one removes.

    Args:
      source: what to convert.
      target: a directory that is not there yet, or empty.
      dtype: of its weights, `float32` or `bfloat16`; of a quantised one, of its norms.
      quantize: `int8` or `int4`; None: as they are in the source, blocks decoded.
      on_progress: called as `on_progress(done, total)`, in bytes.

    Raises:
      CheckpointError: the source is no complete checkpoint of a supported model, or has no tokenizer.
      ValueError: the target is not empty, or is being written by another process.
      OSError: the target cannot be written.
    """
    _check_free(target)
    checkpoint = open_checkpoint(source).quantised(quantize)
    if checkpoint.tokenizer is None:
        raise CheckpointError(f"{source}: has no tokenizer. Put the model's tokenizer.model beside the weights.")
    tokenizer = checkpoint.tokenizer.read()  # raises what is wrong with it, before hours of work
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_directory(target) as partial:
        _check_free(target)  # again: another conversion may have ended meanwhile
        _write_tokenizer(checkpoint.tokenizer, tokenizer, partial)
        write_huggingface(checkpoint, partial, _DTYPES[dtype], on_progress)


def _check_free(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is there already and not empty. Remove it, or name another target.")


def _write_tokenizer(tokenizer: StoredTokenizer, content: bytes, target: Path) -> None:
    (target / tokenizer.kind).write_bytes(content)
    for name in _BESIDE_TOKENIZERS:
        if (tokenizer.file.parent / name).is_file():
            shutil.copyfile(tokenizer.file.parent / name, target / name)  # not its mode, which may be its owner's alone
