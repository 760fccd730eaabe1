"""Answers that are sent when they are complete, with many log probabilities."""

import tracemalloc
from collections.abc import Iterator

import pytest

from serving.engine.request import FinishReason
from serving.gateway.http.json_text import compact_json
from serving.gateway.http.openai.answers import AnswerObjects, ChatObjects, CompletionObjects, WholeObject
from serving.gateway.request import CodeChunk, TokenLogprob, Usage

TOKENS = 2000


def chunks() -> Iterator[CodeChunk]:
    """A token each, with the 20 likeliest."""
    for position in range(TOKENS):
        top = tuple(TokenLogprob(f"t{n}{position}", b"token", -1.5 - position) for n in range(20))
        end = FinishReason.LENGTH if position == TOKENS - 1 else None
        yield CodeChunk(text="x", logprobs=(TokenLogprob("x", b"x", -0.5, top),), finish_reason=end)
    yield CodeChunk(usage=Usage(1, TOKENS, 0))


@pytest.mark.parametrize("objects", [CompletionObjects("id"), ChatObjects("id")], ids=["completion", "chat"])
def test_log_probabilities_are_json_as_soon_as_they_come(objects: AnswerObjects) -> None:
    tracemalloc.start()
    try:
        answer = WholeObject(objects)
        for chunk in chunks():
            answer.add(chunk)
        body = answer.body()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(compact_json(body))
