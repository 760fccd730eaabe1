"""What goes over a link arrives as it was."""

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest, Priority
from serving.errors import Reason
from serving.link import Abort, FromGroup, Refusal, Submit, Waiting, decode_from_group, decode_to_group, encode
from sharding.step import SamplingParams, Token

counts = st.integers(0, 2**31)
numbers = st.floats(allow_nan=False)
texts = st.text(max_size=20)
ids = st.integers(0, 2**18)
requests = st.builds(
    GenerationRequest,
    request_id=texts,
    prompt_ids=st.lists(ids, max_size=20).map(tuple),
    max_tokens=counts,
    sampling=st.builds(
        SamplingParams,
        temperature=numbers,
        top_k=counts,
        top_p=numbers,
        seed=st.integers(0, 2**32 - 1),
        logprobs=st.none() | counts,
    ),
    stop_ids=st.frozensets(ids, max_size=5),
    timeout_s=st.none() | numbers,
    sent_at=st.none() | numbers,
    priority=st.sampled_from(Priority),
    session_id=texts,
)
tokens = st.builds(Token, ids, st.none() | numbers, st.lists(st.tuples(ids, numbers), max_size=3).map(tuple))
chunks = st.builds(
    GenerationChunk,
    tokens=st.lists(tokens, max_size=3).map(tuple),
    finish_reason=st.none() | st.sampled_from(FinishReason),
    cached_tokens=counts,
    error=st.none() | texts,
)
refusals = st.builds(Refusal, texts, st.sampled_from(Reason), texts, st.none() | numbers)


@settings(deadline=None)
@given(st.lists(st.one_of(requests.map(Submit), texts.map(Abort), counts.map(Waiting)), max_size=3))
def test_messages_to_a_group(messages: list[Submit | Abort | Waiting]) -> None:
    assert decode_to_group(encode(messages)) == messages


@settings(deadline=None)
@given(
    st.builds(
        FromGroup,
        load=counts,
        taken=counts,
        chunks=st.lists(st.tuples(texts, chunks), max_size=3),
        refusals=st.lists(refusals, max_size=3),
    )
)
def test_messages_from_a_group(message: FromGroup) -> None:
    assert decode_from_group(encode(message)) == message
