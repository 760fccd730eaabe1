"""Mistral's wire, outwards: what is filled in comes in the objects of a chat."""

import time
from typing import Any

from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.framing import SSE, sse_done, sse_event
from serving.gateway.http.mistral.errors import error_body
from serving.gateway.request import CodeChunk, Usage

Json = dict[str, Any]


class _Head:
    """The fields that all objects of an answer have in common."""

    def __init__(self, answer_id: str, kind: str) -> None:
        self._fields = {"id": answer_id, "object": kind, "created": int(time.time())}

    def of(self, chunk: CodeChunk) -> Json:
        return {**self._fields, "model": chunk.model}


class WholeObject(WholeAnswer):
    """A `chat.completion` with one choice."""

    def __init__(self, answer_id: str) -> None:
        self._head = _Head(answer_id, "chat.completion")
        self._texts: list[str] = []
        self._end = CodeChunk()
        self._usage = Usage()

    def add(self, chunk: CodeChunk) -> None:
        """As `WholeAnswer.add`."""
        if chunk.usage:
            self._usage = chunk.usage
        else:
            self._texts.append(chunk.text)
            self._end = chunk

    def body(self) -> Json:
        """As `WholeAnswer.body`."""
        message = {"role": "assistant", "content": "".join(self._texts), "tool_calls": None}
        return {
            **self._head.of(self._end),
            "choices": [{"index": 0, "message": message, "finish_reason": self._end.finish_reason}],
            "usage": _usage(self._usage),
        }


class StreamedObjects(StreamedAnswer):
    """A `chat.completion.chunk` for each piece; the last one has the usage, as some clients expect a choice in each."""

    framing = SSE

    def __init__(self, answer_id: str) -> None:
        self._head = _Head(answer_id, "chat.completion.chunk")
        self._begun = False
        self._end = CodeChunk()

    def piece(self, chunk: CodeChunk) -> bytes:
        """As `StreamedAnswer.piece`."""
        if chunk.usage:
            return sse_event({**self._object(self._end), "usage": _usage(chunk.usage)})
        if chunk.finish_reason:
            self._end = chunk
            return b""
        return sse_event(self._object(chunk))

    def end(self) -> bytes:
        """As `StreamedAnswer.end`."""
        return sse_done()

    def error(self, error: ServingError) -> bytes:
        """As `StreamedAnswer.error`."""
        return sse_event(error_body(error))

    def _object(self, chunk: CodeChunk) -> Json:
        role = {} if self._begun else {"role": "assistant"}
        self._begun = True
        choice = {"index": 0, "delta": {**role, "content": chunk.text}, "finish_reason": chunk.finish_reason}
        return {**self._head.of(chunk), "choices": [choice]}


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
