"""GGUF files of llama.cpp, Ollama and LM Studio: weights, configuration and tokenizer in one file."""

from pathlib import Path

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.format import Format, Tensors
from sharding.checkpoint.gguf.config import gemma_config_from_gguf
from sharding.checkpoint.gguf.header import is_gguf, read_gguf_header
from sharding.checkpoint.gguf.tensors import EMBEDDING, gguf_tensors
from sharding.checkpoint.gguf.tokenizer import has_tokenizer, sentencepiece_model
from sharding.checkpoint.tokenizer import StoredTokenizer, TokenizerKind
from sharding.config import GemmaConfig


def _read_config(file: Path) -> GemmaConfig:
    header = read_gguf_header(file)
    embedding = header.tensors.get(EMBEDDING)
    if embedding is None:
        raise CheckpointError(f"{file}: tensor {EMBEDDING} (parameter embedder.weight) is missing.")
    try:
        return gemma_config_from_gguf(header.metadata, vocab_size=embedding.shape[0])
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def _read_tensors(file: Path, config: GemmaConfig) -> Tensors:
    return gguf_tensors(file, read_gguf_header(file), config)


def _read_tokenizer(file: Path) -> StoredTokenizer | None:
    metadata = read_gguf_header(file).metadata
    if not has_tokenizer(metadata):
        return None

    def read() -> bytes:
        try:
            model: bytes = sentencepiece_model(metadata).SerializeToString()
            return model
        except (CheckpointError, ValueError) as error:
            raise CheckpointError(f"{file}: {error}") from error

    return StoredTokenizer(file, TokenizerKind.SENTENCEPIECE, read)


GGUF = Format("GGUF", is_gguf, _read_config, _read_tensors, _read_tokenizer)
