"""Answers that are sent when they are complete, with many log probabilities."""

import tracemalloc
from collections.abc import AsyncIterator

import pytest

from serving.engine.request import FinishReason
from serving.gateway.http.errors import compact_json
from serving.gateway.http.openai_answers import ChatWriter, CompletionWriter, Writer
from serving.gateway.request import AnswerPart, End, Piece, TokenLogprob, Usage

TOKENS = 2000


async def chunks() -> AsyncIterator[AnswerPart]:
    """A token each, with the 20 likeliest."""
    for position in range(TOKENS):
        top = tuple(TokenLogprob(f"t{n}{position}", b"token", -1.5 - position) for n in range(20))
        end = FinishReason.LENGTH if position == TOKENS - 1 else None
        yield Piece(text="x", logprobs=(TokenLogprob("x", b"x", -0.5, top),), finish_reason=end)
    yield End(usage=Usage(1, TOKENS, 0))


@pytest.mark.parametrize("writer", [CompletionWriter("id"), ChatWriter("id")], ids=["completion", "chat"])
async def test_log_probabilities_are_json_as_soon_as_they_come(writer: Writer) -> None:
    tracemalloc.start()
    try:
        body = await writer.whole(chunks())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(compact_json(body))
