"""Plans and answers arrive as they were sent."""

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.group.channel_messages import (
    Failure,
    Landed,
    LoadAdapter,
    Ready,
    decode_from_host,
    decode_from_leader,
    encode,
)
from sharding.step import Opening, Row, SamplingParams, Token

_IDS = st.lists(st.integers(0, 2**31 - 1), max_size=40)
_SAMPLING = st.builds(
    SamplingParams,
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 2**31),
    top_p=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    logprobs=st.none() | st.integers(0, 20),
)
_NUMBER = st.integers(0, 2**31 - 1)
_OPENING = st.builds(Opening, sampling=_SAMPLING, stop_ids=_IDS)
_ROWS = st.builds(
    Row,
    slot=_NUMBER,
    start=_NUMBER,
    token_ids=_IDS,
    draws=_NUMBER,
    pages=_IDS,
    first_page=_NUMBER,
    opening=st.none() | _OPENING,
)
_LOGPROB = st.floats(allow_nan=False)
_TOP = st.lists(st.tuples(st.integers(0, 2**31 - 1), _LOGPROB), max_size=20).map(tuple)
_TOKENS = st.builds(Token, st.integers(0, 2**31 - 1)) | st.builds(Token, st.integers(0, 2**31 - 1), _LOGPROB, _TOP)
_ANSWERS = st.builds(Landed, st.integers(0, 2**31), st.lists(st.lists(_TOKENS, max_size=4), max_size=8))


@settings(deadline=None)
@given(st.lists(_ROWS, max_size=8) | st.builds(LoadAdapter, _NUMBER, st.text(), st.text(), _NUMBER))
def test_what_a_leader_says_arrives_as_it_was_said(said: list[Row] | LoadAdapter) -> None:
    assert decode_from_leader(encode(said)) == said


@settings(deadline=None)
@given(st.just(Ready()) | _ANSWERS | st.builds(Failure, st.text()))
def test_what_a_host_says_arrives_as_it_was_said(said: Ready | Landed | Failure) -> None:
    assert decode_from_host(encode(said)) == said


def test_tuples_arrive_as_lists() -> None:
    row = Row(slot=0, start=3, token_ids=(1, 2), pages=(0, 1))
    assert decode_from_leader(encode([row])) == [Row(slot=0, start=3, token_ids=[1, 2], pages=[0, 1])]
