"""Plans and answers arrive as they were sent."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.request import SamplingParams, Token
from serving.engine.runner import StepRow
from serving.group.messages import decode_plan, decode_tokens, encode_plan, encode_tokens

_IDS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=40).map(tuple)
_SAMPLING = st.builds(
    SamplingParams,
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 2**31),
    top_p=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    logprobs=st.none() | st.integers(0, 20),
)
_ROWS = st.builds(StepRow, token_ids=_IDS, start=st.integers(0, 2**31 - 1), pages=_IDS, sampling=st.none() | _SAMPLING)
_LOGPROB = st.floats(allow_nan=False)
_TOP = st.lists(st.tuples(st.integers(0, 2**31 - 1), _LOGPROB), max_size=20).map(tuple)
_TOKENS = st.builds(Token, st.integers(0, 2**31 - 1)) | st.builds(Token, st.integers(0, 2**31 - 1), _LOGPROB, _TOP)


@settings(deadline=None)
@given(st.lists(_ROWS, max_size=8))
def test_a_plan_arrives_as_it_was_sent(rows: list[StepRow]) -> None:
    assert _with_tuples(decode_plan(encode_plan(rows))) == rows


@settings(deadline=None)
@given(st.lists(st.none() | _TOKENS, max_size=8))
def test_tokens_arrive_as_they_were_sent(tokens: list[Token | None]) -> None:
    assert decode_tokens(encode_tokens(tokens)) == tokens


def test_any_sequence_of_ids_can_be_sent() -> None:
    row = StepRow(token_ids=[1, 2], start=3, pages=range(4), sampling=None)
    assert _with_tuples(decode_plan(encode_plan([row]))) == [replace(row, token_ids=(1, 2), pages=(0, 1, 2, 3))]


def _with_tuples(rows: Sequence[StepRow]) -> list[StepRow]:
    return [replace(row, token_ids=tuple(row.token_ids), pages=tuple(row.pages)) for row in rows]
