"""token_logprob: a token and its log probability, as people read it."""

from serving.gateway.request import TokenLogprob
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import Token


def token_logprob(tokenizer: Tokenizer, token: Token, offset: int) -> TokenLogprob:
    """What is shown of a token and its alternatives; `offset` is that of `TokenLogprob`."""
    top = tuple(_named(tokenizer, *other) for other in token.top)
    return _named(tokenizer, token.id, token.logprob, top, offset)


def _named(
    tokenizer: Tokenizer, token_id: int, logprob: float | None, top: tuple[TokenLogprob, ...] = (), offset: int = 0
) -> TokenLogprob:
    data = tokenizer.id_bytes(token_id)
    text = tokenizer.control_text(token_id) or data.decode(errors="replace")
    return TokenLogprob(text, data, logprob, top, offset)
