"""Step plans and their answers as bytes: fixed heads and arrays of numbers, so that reading them runs no code.

All numbers are little-endian, as on every machine that JAX runs on.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from serving.engine.request import SamplingParams, Token
from serving.engine.runner import StepRow

_COUNT = Struct("<I")
_ROW = Struct("<IIIB")
"""Tokens, start, pages, whether to sample."""
_SAMPLING = Struct("<dIdIi")
"""Temperature, top_k, top_p, seed, logprobs (-1: none)."""
_TOKEN = Struct("<BIdI")
"""One of the kinds below; id, log probability, alternatives."""
_ALTERNATIVE = Struct("<Id")
_NO_TOKEN, _PLAIN, _WITH_LOGPROB = range(3)
_CACHED = 1024
"""Sampling parameters kept: a sequence has the same ones in every step, and making them takes time."""


def encode_plan(rows: Sequence[StepRow]) -> bytes:
    """Returns the rows one after the other: head, token ids, pages, sampling."""
    parts = [_COUNT.pack(len(rows))]
    for row in rows:
        tokens, pages, sampling = len(row.token_ids), len(row.pages), row.sampling
        parts.append(_ROW.pack(tokens, row.start, pages, sampling is not None))
        parts.append(_ints(tokens).pack(*row.token_ids))
        parts.append(_ints(pages).pack(*row.pages))
        if sampling is not None:
            logprobs = -1 if sampling.logprobs is None else sampling.logprobs
            parts.append(_SAMPLING.pack(sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed, logprobs))
    return b"".join(parts)


def decode_plan(data: bytes) -> list[StepRow]:
    """The inverse of `encode_plan`."""
    (count,) = _COUNT.unpack_from(data)
    at = _COUNT.size
    rows = []
    for _ in range(count):
        tokens, start, pages, samples = _ROW.unpack_from(data, at)
        token_ids = _ints(tokens).unpack_from(data, at := at + _ROW.size)
        page_ids = _ints(pages).unpack_from(data, at := at + _ints(tokens).size)
        at += _ints(pages).size
        sampling = None
        if samples:
            sampling = _sampling(data[at : at + _SAMPLING.size])
            at += _SAMPLING.size
        rows.append(StepRow(token_ids=token_ids, start=start, pages=page_ids, sampling=sampling))
    return rows


@lru_cache(_CACHED)
def _ints(count: int) -> Struct:
    return Struct(f"<{count}i")


@lru_cache(_CACHED)
def _sampling(packed: bytes) -> SamplingParams:
    temperature, top_k, top_p, seed, logprobs = _SAMPLING.unpack(packed)
    return SamplingParams(
        temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, logprobs=None if logprobs < 0 else logprobs
    )


def encode_tokens(tokens: Sequence[Token | None]) -> bytes:
    """Returns the tokens one after the other: head, alternatives."""
    parts = [_COUNT.pack(len(tokens))]
    for token in tokens:
        if token is None:
            parts.append(_TOKEN.pack(_NO_TOKEN, 0, 0.0, 0))
        elif token.logprob is None:
            parts.append(_TOKEN.pack(_PLAIN, token.id, 0.0, 0))
        else:
            parts.append(_TOKEN.pack(_WITH_LOGPROB, token.id, token.logprob, len(token.top)))
            parts += (_ALTERNATIVE.pack(*alternative) for alternative in token.top)
    return b"".join(parts)


def decode_tokens(data: bytes) -> list[Token | None]:
    """The inverse of `encode_tokens`."""
    (count,) = _COUNT.unpack_from(data)
    at = _COUNT.size
    tokens: list[Token | None] = []
    for _ in range(count):
        kind, token_id, logprob, alternatives = _TOKEN.unpack_from(data, at)
        end = at + _TOKEN.size + _ALTERNATIVE.size * alternatives
        if kind == _NO_TOKEN:
            tokens.append(None)
        elif kind == _PLAIN:
            tokens.append(Token(token_id))
        else:
            top = tuple(_ALTERNATIVE.iter_unpack(data[at + _TOKEN.size : end]))
            tokens.append(Token(token_id, logprob, top))
        at = end
    return tokens
