"""The kinds of tokenizer that checkpoints have."""

from collections.abc import Callable
from pathlib import Path

from serving.gateway.text.tokenizer import Tokenizer
from serving.gateway.text.tokenizers.expected_ids import check_ids, fit_to_rows
from serving.gateway.text.tokenizers.huggingface import HuggingFaceTokenizer
from serving.gateway.text.tokenizers.sentencepiece import SentencePieceTokenizer
from sharding.checkpoint import CheckpointError, read_config, read_tokenizer
from sharding.checkpoint.tokenizer import TokenizerKind, sentencepiece_model

_KINDS: dict[TokenizerKind, Callable[[bytes], Tokenizer]] = {
    TokenizerKind.SENTENCEPIECE: lambda content: SentencePieceTokenizer(sentencepiece_model(content)),
    TokenizerKind.JSON: HuggingFaceTokenizer.from_bytes,
}


def load_tokenizer(checkpoint: Path, tokenizer: Path | None = None) -> Tokenizer:
    """The tokenizer of a checkpoint.

    Args:
      checkpoint: of any form.
      tokenizer: a SentencePiece model, a `tokenizer.json` or another checkpoint to take it from instead.

    Raises:
      ValueError: there is none, or it is not a Gemma tokenizer, or that of other weights; names the file.
    """
    try:
        stored = read_tokenizer(tokenizer or checkpoint)
        content = stored.read()
    except CheckpointError as error:
        raise ValueError(str(error)) from error
    try:
        loaded = _KINDS[stored.kind](content)
        fit_to_rows(loaded, _rows(checkpoint))
        check_ids(loaded)
    except ValueError as error:
        raise ValueError(f"{stored.file}: {error}") from error
    return loaded


def _rows(checkpoint: Path) -> int | None:
    """Of the embedding; None: there are no weights here, or who loads them says what is wrong with them."""
    try:
        return read_config(checkpoint).vocab_size
    except CheckpointError:
        return None
