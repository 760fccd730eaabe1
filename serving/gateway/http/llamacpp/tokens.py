"""Text to token ids and back, as llama.cpp says it."""

from collections.abc import Sequence

from serving.errors import FieldError, Reason
from serving.gateway.http.llamacpp.schema import TokenizeBody
from serving.gateway.served_model import ServedModel
from serving.gateway.shown import shown
from serving.gateway.text.tokenizer import Tokenizer


def tokenized(model: ServedModel, body: TokenizeBody) -> list[int]:
    """The ids of a text that fits a model's context. Takes a while for a long one.

    Raises:
      ServingError: CONTEXT_LENGTH_EXCEEDED.
    """
    tokenizer, limit = model.tokenizer, model.max_context
    ids = [tokenizer.bos_id] if body.begins_with_bos else []
    if len(body.text.encode()) // tokenizer.longest_piece <= limit:
        parts = (
            tokenizer.encode_with_sentinels(body.text, limit)
            if body.parse_special
            else [tokenizer.encode(body.text, limit)]
        )
        for part in parts:
            ids += part
            if len(ids) > limit:
                break
        else:
            return ids
    raise FieldError(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        body.text_field,
        f"is too long: it has more than {limit} tokens, this model's maximum context length. Send it in parts.",
    )


def pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[dict[str, object]]:
    """Each id with its text; with its bytes, if it is a part of a character."""
    return [{"id": token_id, "piece": _text(tokenizer.id_bytes(token_id))} for token_id in ids]


def detokenized(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of ids; control tokens show as nothing.

    Raises:
      ServingError: INVALID_ARGUMENT, an id is not the vocabulary's.
    """
    for position, token_id in enumerate(ids):
        if not 0 <= token_id < tokenizer.vocab_size:
            raise FieldError(
                Reason.INVALID_ARGUMENT,
                "tokens",
                f"is {shown(token_id)}; this model's token ids are 0 to {tokenizer.vocab_size - 1}.",
                f"[{position}]",
            )
    return tokenizer.decode(ids)


def _text(data: bytes) -> str | list[int]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)
