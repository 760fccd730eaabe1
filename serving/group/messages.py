"""Step plans and their answers as bytes: fixed heads and arrays of numbers, so that reading them runs no code.

All numbers are little-endian, as on every machine that JAX runs on. Every step of a group of several hosts is encoded
and decoded, so each kind of number goes through one call for all rows.
"""

from array import array
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, pack, unpack_from

from serving.engine.request import SamplingParams, Token
from serving.engine.runner import StepRow

_COUNT = Struct("<I")
_SAMPLING = Struct("<dIdIi")
"""Temperature, top_k, top_p, seed, logprobs (-1: none)."""
_GREEDY = SamplingParams()
"""Fills the place of the parameters in a row without."""
_ROW_AND_SAMPLING = Struct("<iii?dIdIi")
_ROW = Struct(f"<iii?{_SAMPLING.size}s")
"""Tokens, start, pages, whether to sample, and how."""
_LOGPROB = Struct("<IdI")
"""Row, log probability of its token, alternatives."""
_ALTERNATIVE = Struct("<Id")
_NO_TOKEN = -1
_CACHED = 4096
"""Sampling parameters and tokens kept: they recur from step to step, and making them takes longer than the rest."""


def encode_plan(rows: Sequence[StepRow]) -> bytes:
    """Returns the heads of the rows, then the token ids and the pages of each."""
    parts, ids = [_COUNT.pack(len(rows))], list[int]()
    for row in rows:
        token_ids, pages, sampling = row.token_ids, row.pages, row.sampling or _GREEDY
        parts.append(
            _ROW_AND_SAMPLING.pack(
                len(token_ids),
                row.start,
                len(pages),
                row.sampling is not None,
                sampling.temperature,
                sampling.top_k,
                sampling.top_p,
                sampling.seed,
                -1 if sampling.logprobs is None else sampling.logprobs,
            )
        )
        ids += token_ids
        ids += pages
    parts.append(pack(f"<{len(ids)}i", *ids))
    return b"".join(parts)


def decode_plan(data: bytes) -> list[StepRow]:
    """The inverse of `encode_plan`; token ids and pages are arrays."""
    (count,) = _COUNT.unpack_from(data)
    heads_end = _COUNT.size + count * _ROW.size
    ids = array("i", data[heads_end:])
    rows, at = [], 0
    for tokens, start, pages, samples, packed in _ROW.iter_unpack(data[_COUNT.size : heads_end]):
        token_ids = ids[at : (at := at + tokens)]
        page_ids = ids[at : (at := at + pages)]
        sampling = _unpack_sampling(packed) if samples else None
        rows.append(StepRow(token_ids=token_ids, start=start, pages=page_ids, sampling=sampling))
    return rows


@lru_cache(_CACHED)
def _unpack_sampling(packed: bytes) -> SamplingParams:
    temperature, top_k, top_p, seed, logprobs = _SAMPLING.unpack(packed)
    return SamplingParams(
        temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, logprobs=None if logprobs < 0 else logprobs
    )


def encode_tokens(tokens: Sequence[Token | None]) -> bytes:
    """Returns the ids of all rows, then the log probabilities of those that have some."""
    ids = [_NO_TOKEN if token is None else token.id for token in tokens]
    parts = [_COUNT.pack(len(ids)), pack(f"<{len(ids)}i", *ids)]
    for row, token in enumerate(tokens):
        if token is not None and token.logprob is not None:
            parts.append(_LOGPROB.pack(row, token.logprob, len(token.top)))
            parts += (_ALTERNATIVE.pack(*alternative) for alternative in token.top)
    return b"".join(parts)


def decode_tokens(data: bytes) -> list[Token | None]:
    """The inverse of `encode_tokens`."""
    (count,) = _COUNT.unpack_from(data)
    ids = unpack_from(f"<{count}i", data, _COUNT.size)
    tokens = [None if token_id == _NO_TOKEN else _plain(token_id) for token_id in ids]
    at = _COUNT.size + 4 * count
    while at < len(data):
        row, logprob, alternatives = _LOGPROB.unpack_from(data, at)
        top_at = at + _LOGPROB.size
        at = top_at + alternatives * _ALTERNATIVE.size
        tokens[row] = Token(ids[row], logprob, tuple(_ALTERNATIVE.iter_unpack(data[top_at:at])))
    return tokens


@lru_cache(_CACHED)
def _plain(token_id: int) -> Token:
    return Token(token_id)
