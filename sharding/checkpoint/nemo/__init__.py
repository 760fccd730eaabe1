"""Checkpoints of NVIDIA NeMo.

NeMo 1: a `.nemo` file, which is a tar or tar.gz, or the directory that it unpacks to, with `model_config.yaml`. NeMo 2:
a directory of `weights/` and `context/`. Weights are flat files (`ranks`) or distributed checkpoints (`zarr`,
`torch_dist`).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sharding.checkpoint.binding import bind
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Format, Tensors
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.nemo.config import NemoConfig, nemo1_config, nemo2_config
from sharding.checkpoint.nemo.members import Members, is_tar, open_members
from sharding.checkpoint.nemo.names import split, stored_name, wanted
from sharding.checkpoint.nemo.weights import read_weights
from sharding.checkpoint.tokenizer import MAX_BYTES, StoredTokenizer, TokenizerKind, sentencepiece_model
from sharding.config import GemmaConfig

_NEMO1_CONFIG, _NEMO1_WEIGHTS = "model_config.yaml", "model_weights"
_NEMO2_CONFIG, _NEMO2_WEIGHTS = "context/model.yaml", "weights"
_NEMO2_TOKENIZERS = ("context/nemo_tokenizer", "context")
_MAX_CONFIG = 2**16


@dataclass(frozen=True, slots=True)
class _Opened:
    """A checkpoint, its configuration read."""

    members: Members
    config: NemoConfig
    weights: str

    @classmethod
    def of(cls, path: Path) -> "_Opened":
        members = open_members(path)
        if _NEMO1_CONFIG in members.extents:
            name, read, weights = _NEMO1_CONFIG, nemo1_config, _NEMO1_WEIGHTS
        elif _NEMO2_CONFIG in members.extents:
            name, read, weights = _NEMO2_CONFIG, nemo2_config, _NEMO2_WEIGHTS
        else:
            raise CheckpointError(f"{path}: has neither {_NEMO1_CONFIG} nor {_NEMO2_CONFIG}: it is no NeMo checkpoint.")
        text = members.read(name, _MAX_CONFIG)
        try:
            return cls(members, read(text), weights)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {name}: {error}") from error

    def tokenizer(self) -> StoredTokenizer | None:
        for name, kind in self._tokenizers():
            if name in self.members.extents:
                read = partial(self.members.read, name, MAX_BYTES)
                return StoredTokenizer(self.members.extents[name].file, kind, read)
        if self.config.tokenizer is not None:
            raise CheckpointError(f"{self.members.path}: its tokenizer {self.config.tokenizer[:100]!r} is missing.")
        return None

    def _tokenizers(self) -> list[tuple[str, TokenizerKind]]:
        if self.weights == _NEMO2_WEIGHTS:
            return [(f"{folder}/{kind}", kind) for kind in TokenizerKind for folder in _NEMO2_TOKENIZERS]
        return [(self.config.tokenizer, TokenizerKind.SENTENCEPIECE)] if self.config.tokenizer is not None else []

    def gemma_config(self) -> GemmaConfig:
        tokenizer = self.tokenizer()
        vocabulary = None
        if tokenizer is not None and tokenizer.kind is TokenizerKind.SENTENCEPIECE:
            try:
                vocabulary = len(sentencepiece_model(tokenizer.read()).pieces)
            except ValueError as error:
                raise CheckpointError(f"{self.members.path}: its tokenizer {error}") from error
        try:
            return self.config.gemma_config(vocabulary)
        except CheckpointError as error:
            raise CheckpointError(f"{self.members.path}: {error}") from error

    def stored(self, layers: int) -> dict[str, Matrix]:
        return read_weights(self.members, self.weights, wanted, layers, self.config.parallel)


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in (_NEMO1_CONFIG, _NEMO2_CONFIG))
    return is_tar(path)


def _read_config(path: Path) -> GemmaConfig:
    return _Opened.of(path).gemma_config()


def _read_tensors(path: Path, config: GemmaConfig) -> Tensors:
    opened = _Opened.of(path)
    try:
        return _bound(opened, path, config)
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f"{path}: {error}") from error  # which names the tar that it was unpacked to


def _bound(opened: _Opened, path: Path, config: GemmaConfig) -> Tensors:
    stored = split(opened.stored(config.num_layers), config, path, opened.config.norms_plus_one)
    return bind(config, stored, stored_name, where=path)


def _read_tokenizer(path: Path) -> StoredTokenizer | None:
    return _Opened.of(path).tokenizer()


NEMO = Format("NVIDIA NeMo", _recognises, _read_config, _read_tensors, _read_tokenizer)
