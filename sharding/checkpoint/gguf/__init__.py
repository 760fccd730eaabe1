"""GGUF files of llama.cpp, Ollama and LM Studio: weights, configuration and tokenizer in one file or a set."""

from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Format, Tensors
from sharding.checkpoint.gguf.config import gemma_config_from_gguf
from sharding.checkpoint.gguf.files import read_gguf, recognises
from sharding.checkpoint.gguf.tensors import EMBEDDING, gguf_tensors, kept_as_stored
from sharding.checkpoint.gguf.tokenizer import has_tokenizer, tokenizer_model
from sharding.checkpoint.tokenizer import StoredTokenizer, TokenizerKind
from sharding.config import GemmaConfig


def _read_config(path: Path) -> GemmaConfig:
    found = read_gguf(path)
    embedding = found.tensors.get(EMBEDDING)
    if embedding is None:
        raise CheckpointError(f"{found.file}: tensor {EMBEDDING} (parameter embedder.weight) is missing.")
    try:
        config = gemma_config_from_gguf(found.metadata, vocab_size=embedding.shape[0])
        return kept_as_stored(found.tensors, config)
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"{found.file}: {error}") from error


def _read_tensors(path: Path, config: GemmaConfig) -> Tensors:
    return gguf_tensors(read_gguf(path), config)


def _read_tokenizer(path: Path) -> StoredTokenizer | None:
    found = read_gguf(path)
    if not has_tokenizer(found.metadata):
        return None

    def read() -> bytes:
        try:
            model: bytes = tokenizer_model(found.metadata).SerializeToString()
            return model
        except OSError as error:
            raise CheckpointError(f"{found.file} cannot be read: {error.strerror}.") from error
        except (CheckpointError, ValueError) as error:
            raise CheckpointError(f"{found.file}: {error}") from error

    return StoredTokenizer(found.file, TokenizerKind.SENTENCEPIECE, read)


GGUF = Format("GGUF", recognises, _read_config, _read_tensors, _read_tokenizer)
