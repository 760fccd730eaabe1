"""A checkpoint made ready for serving, in files that hosts read side by side with its tokenizer, or for llama.cpp."""

import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt

from serving.checkpoints.partial_directory import check_free, in_partial_directory, partial_directory, partial_file
from serving.checkpoints.written_files import WrittenFiles, origin_of
from sharding.adapters.forms import adapter_version, open_adapter
from sharding.adapters.merge import merged
from sharding.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from sharding.checkpoint.gguf.writer import GgufType, write_gguf
from sharding.checkpoint.huggingface.writer import write_huggingface
from sharding.checkpoint.tokenizer import StoredTokenizer

type OnProgress = Callable[[int, int], None]

_DTYPES: dict[str, npt.DTypeLike] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
_BESIDE_TOKENIZERS = ("tokenizer_config.json", "special_tokens_map.json")


def convert(
    source: Path,
    target: Path,
    dtype: str,
    quantize: str | None = None,
    files: int | None = None,
    on_progress: OnProgress = lambda done, total: None,
    adapters: Sequence[Path] = (),
) -> None:
    """Converts a checkpoint of any form to a directory of Hugging Face files, with their hashes in `SHA256SUMS`.

    The target appears complete or not at all. The next conversion of the same source and options goes on with the files
    that one wrote beside it which was killed, interrupted, or had no room.

    Args:
      source: what to convert.
      target: a directory that is not there yet, or empty.
      dtype: of its weights, `float32` or `bfloat16`; of a quantised one, of its norms.
      quantize: `int8`, `int8-groups`, `int4`, or `none`: as numbers; None: as in the source, decoded if nothing of ours
        holds that.
      files: how many to write at most; None: as many as files of 2 GB make.
      on_progress: called as `on_progress(done, total)`, in bytes.
      adapters: LoRA adapters of any form, merged into the weights one after the other.

    Raises:
      CheckpointError: the source is no complete checkpoint of a supported model, or has no tokenizer; or an adapter is
        none of it.
      ValueError: the target is not empty, or is being written by another process.
      OSError: the target cannot be written.
    """
    check_free(target)
    checkpoint = _opened(source, adapters).quantised(quantize)
    if checkpoint.tokenizer is None:
        raise CheckpointError(f"{source}: has no tokenizer. Put the model's tokenizer.model beside the weights.")
    tokenizer = checkpoint.tokenizer.read()  # raises what is wrong with it, before hours of work
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_directory(target, kept_after=(OSError,)) as partial:
        check_free(target)  # again: another conversion may have ended meanwhile
        identity = [_identity(checkpoint), *map(adapter_version, adapters)]
        written = WrittenFiles(partial, [version("codegemma-serving"), identity, dtype, quantize, files])
        try:
            _write_tokenizer(checkpoint.tokenizer, tokenizer, partial)
            write_huggingface(
                checkpoint,
                partial,
                _DTYPES[dtype],
                on_progress,
                files,
                is_written=written.is_written,
                on_written=written.add,
            )
            written.finish(origin_of(source))
        except OSError:
            written.remove_incomplete()  # a disk that is full has need of their room
            raise


def convert_to_gguf(
    source: Path,
    target: Path,
    encoding: str,
    on_progress: OnProgress = lambda done, total: None,
    adapters: Sequence[Path] = (),
) -> None:
    """Converts a checkpoint of any form to a GGUF file, which appears complete or not at all.

    Args:
      source: what to convert.
      target: a file that is not there yet.
      encoding: of the matrices: a `GgufType`.
      on_progress: called as `on_progress(done, total)`, in bytes.
      adapters: see `convert`.

    Raises:
      CheckpointError: the source is no complete checkpoint of a supported model, or has no SentencePiece tokenizer; or
        an adapter is none of it.
      ValueError: the target is there, or is being written by another process.
      OSError: the target cannot be written.
    """
    check_free(target)
    checkpoint = _opened(source, adapters)
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(target) as partial:
        check_free(target)
        write_gguf(checkpoint, partial, GgufType(encoding), on_progress)


def _opened(source: Path, adapters: Sequence[Path]) -> Checkpoint:
    return merged(open_checkpoint(source), [open_adapter(path) for path in adapters])


def _identity(checkpoint: Checkpoint) -> list[tuple[str, int, int]]:
    """What changes if the source does: path, size and time of its files, and of what lies beside a single one.

    Parts of a model may lie there, and its tokenizer.
    """
    path = checkpoint.path
    files = {*(path.rglob("*") if path.is_dir() else path.parent.iterdir())}
    files |= {source.file for source in checkpoint.tensors.values()}
    if checkpoint.tokenizer is not None:
        files.add(checkpoint.tokenizer.file)
    found = sorted(file.absolute() for file in files if file.is_file() and not in_partial_directory(file))
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file in found for stat in [file.stat()]]


def _write_tokenizer(tokenizer: StoredTokenizer, content: bytes, target: Path) -> None:
    (target / tokenizer.kind).write_bytes(content)
    for name in _BESIDE_TOKENIZERS:
        if (tokenizer.file.parent / name).is_file():
            shutil.copyfile(tokenizer.file.parent / name, target / name)  # not its mode, which may be its owner's alone
