"""What answers `POST /v1/responses`: a `response` object, or the events by which it grows."""

import time

from serving.engine.request import FinishReason
from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.framing import SSE, sse_event
from serving.gateway.http.json_text import Json
from serving.gateway.http.openai.errors import error_body
from serving.gateway.http.openai.response_body import ResponseBody
from serving.gateway.request import AnswerPart, End, Usage


class ResponseObject:
    """The object as far as it is generated."""

    def __init__(self, request_id: str, body: ResponseBody) -> None:
        self._body = body
        self._id = f"resp_{request_id}"
        self.item_id = f"msg_{request_id}"
        self._created = int(time.time())
        self._texts: list[str] = []
        self._model = ""
        self._usage: Usage | None = None
        self._finish_reason: FinishReason | None = None

    def add(self, part: AnswerPart) -> None:
        """Takes the next piece, or the end."""
        self._model = part.model
        if isinstance(part, End):
            self._usage = part.usage
        else:
            self._finish_reason = part.finish_reason or self._finish_reason
            self._texts.append(part.text)

    def json(self) -> Json:
        """All of it."""
        body, status = self._body, self.status
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata,
            "model": self._model,
            "output": [] if status == "in_progress" else [self.item()],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": body.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": self._usage_json(),
        }

    def item(self) -> Json:
        """The message, the only item of the output."""
        status = self.status
        content = [] if status == "in_progress" else [self.part()]
        return {"type": "message", "id": self.item_id, "status": status, "role": "assistant", "content": content}

    def part(self) -> Json:
        """The text, the only part of the message."""
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}

    @property
    def text(self) -> str:
        """What was generated."""
        return "".join(self._texts)

    @property
    def status(self) -> str:
        """`in_progress` until the usage is known, then `completed` or, of what was cut, `incomplete`."""
        if self._usage is None:
            return "in_progress"
        return "incomplete" if self._finish_reason is FinishReason.LENGTH else "completed"

    def _usage_json(self) -> Json | None:
        if (usage := self._usage) is None:
            return None
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }


class WholeResponse(WholeAnswer):
    """The object once it is complete."""

    def __init__(self, response: ResponseObject) -> None:
        self._response = response

    def add(self, part: AnswerPart) -> None:
        """As `WholeAnswer.add`."""
        self._response.add(part)

    def body(self) -> Json:
        """As `WholeAnswer.body`."""
        return self._response.json()


class StreamedResponse(StreamedAnswer):
    """Events with names and numbers; the last has the whole object. There is no `[DONE]`."""

    framing = SSE

    def __init__(self, response: ResponseObject) -> None:
        self._response = response
        self._events = 0

    def piece(self, part: AnswerPart) -> bytes:
        """As `StreamedAnswer.piece`."""
        response = self._response
        empty = response.part()
        response.add(part)
        begin = b"" if self._events else self._begin(empty)
        if isinstance(part, End):
            return begin + self._finish()
        delta = {**self._place(), "delta": part.text, "logprobs": []}
        return begin + (self._event("response.output_text.delta", delta) if part.text else b"")

    def end(self) -> bytes:
        """As `StreamedAnswer.end`."""
        return b""

    def error(self, error: ServingError) -> bytes:
        """As `StreamedAnswer.error`; with the fields of the event, and the object at which OpenAI's clients raise."""
        fields = {"code": error.reason, "message": error.message, "param": error.field}
        return self._event("error", {**fields, **error_body(error)})

    def _begin(self, empty: Json) -> bytes:
        response = self._response
        return b"".join(
            (
                self._event("response.created", {"response": response.json()}),
                self._event("response.in_progress", {"response": response.json()}),
                self._event("response.output_item.added", {"output_index": 0, "item": response.item()}),
                self._event("response.content_part.added", {**self._place(), "part": empty}),
            )
        )

    def _finish(self) -> bytes:
        response = self._response
        return b"".join(
            (
                self._event("response.output_text.done", {**self._place(), "text": response.text, "logprobs": []}),
                self._event("response.content_part.done", {**self._place(), "part": response.part()}),
                self._event("response.output_item.done", {"output_index": 0, "item": response.item()}),
                self._event(f"response.{response.status}", {"response": response.json()}),
            )
        )

    def _place(self) -> Json:
        return {"item_id": self._response.item_id, "output_index": 0, "content_index": 0}

    def _event(self, name: str, content: Json) -> bytes:
        number, self._events = self._events, self._events + 1
        return sse_event({"type": name, "sequence_number": number, **content}, name)
