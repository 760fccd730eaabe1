"""Checkpoints of Google's Flax models, written by Orbax: a directory of zarr arrays, or an OCDBT database of them."""

from pathlib import Path

from sharding.checkpoint.format import Format
from sharding.checkpoint.orbax.arrays import OCDBT_MANIFEST
from sharding.checkpoint.orbax.tensors import orbax_config, orbax_tensors
from sharding.checkpoint.tokenizer import StoredTokenizer, TokenizerKind, tokenizer_file

_MARKERS = (OCDBT_MANIFEST, "_METADATA", "_CHECKPOINT_METADATA")
"""Files of Orbax, by age of the writer."""
_ARRAYS = "transformer/**/.zarray"
"""Those of such a model, where nothing else was kept."""


def _recognises(path: Path) -> bool:
    return any((path / marker).is_file() for marker in _MARKERS) or any(path.glob(_ARRAYS))


def _read_tokenizer(directory: Path) -> StoredTokenizer | None:
    # Google publishes several checkpoints of a model and one tokenizer beside them.
    files = (folder / TokenizerKind.SENTENCEPIECE for folder in (directory, directory.absolute().parent))
    return next((tokenizer_file(file) for file in files if file.is_file()), None)


ORBAX = Format("Orbax", _recognises, orbax_config, orbax_tensors, _read_tokenizer)
