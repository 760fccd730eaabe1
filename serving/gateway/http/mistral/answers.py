"""Mistral's wire, outwards: what is filled in comes in the objects of a chat."""

import time

from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeText
from serving.gateway.http.framing import SSE, sse_done, sse_event
from serving.gateway.http.json_text import Json
from serving.gateway.http.mistral.errors import error_body
from serving.gateway.http.usage import usage_json
from serving.gateway.request import AnswerPart, End, Piece


class _Head:
    """The fields that all objects of an answer have in common."""

    def __init__(self, answer_id: str, kind: str) -> None:
        self._fields = {"id": answer_id, "object": kind, "created": int(time.time())}

    def of(self, piece: Piece) -> Json:
        return {**self._fields, "model": piece.model}


class WholeObject(WholeText):
    """A `chat.completion` with one choice."""

    def __init__(self, answer_id: str) -> None:
        super().__init__()
        self._head = _Head(answer_id, "chat.completion")

    def body(self) -> Json:
        """As `WholeAnswer.body`."""
        message = {"role": "assistant", "content": self.text, "tool_calls": None}
        return {
            **self._head.of(self.last),
            "choices": [{"index": 0, "message": message, "finish_reason": self.last.finish_reason}],
            "usage": usage_json(self.usage),
        }


class StreamedObjects(StreamedAnswer):
    """A `chat.completion.chunk` for each piece; the last one has the usage, as some clients expect a choice in each."""

    framing = SSE

    def __init__(self, answer_id: str) -> None:
        self._head = _Head(answer_id, "chat.completion.chunk")
        self._begun = False
        self._end = Piece()

    def piece(self, part: AnswerPart) -> bytes:
        """As `StreamedAnswer.piece`."""
        if isinstance(part, End):
            return sse_event({**self._object(self._end), "usage": usage_json(part.usage)})
        if part.finish_reason:
            self._end = part
            return b""
        return sse_event(self._object(part))

    def end(self) -> bytes:
        """As `StreamedAnswer.end`."""
        return sse_done()

    def error(self, error: ServingError) -> bytes:
        """As `StreamedAnswer.error`."""
        return sse_event(error_body(error))

    def _object(self, piece: Piece) -> Json:
        role = {} if self._begun else {"role": "assistant"}
        self._begun = True
        choice = {"index": 0, "delta": {**role, "content": piece.text}, "finish_reason": piece.finish_reason}
        return {**self._head.of(piece), "choices": [choice]}
