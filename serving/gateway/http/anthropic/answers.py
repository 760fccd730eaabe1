"""Anthropic's wire, outwards: a message with one block of text, or the events that build it."""

from serving.engine.request import FinishReason
from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeText
from serving.gateway.http.anthropic.errors import error_body
from serving.gateway.http.framing import SSE, sse_event
from serving.gateway.http.json_text import Json
from serving.gateway.request import AnswerPart, End, Piece, Usage

_STOP_REASONS = {FinishReason.STOP: "end_turn", FinishReason.LENGTH: "max_tokens"}


class WholeMessage(WholeText):
    """The message."""

    def __init__(self, message_id: str) -> None:
        super().__init__()
        self._id = message_id

    def body(self) -> Json:
        """As `WholeAnswer.body`."""
        content = [{"type": "text", "text": self.text}]
        return {
            **_message(self._id, self.last.model, content),
            **_stop(self.last),
            "usage": _usage(self.usage),
        }


class MessageEvents(StreamedAnswer):
    """The events. Before the first, `ping` is the sign of life."""

    framing = SSE._replace(sign_of_life=sse_event({"type": "ping"}, "ping"))

    def __init__(self, message_id: str) -> None:
        self._id = message_id
        self._begun = False
        self._last = Piece()

    def piece(self, part: AnswerPart) -> bytes:
        """As `StreamedAnswer.piece`."""
        if isinstance(part, End):
            stop = {"delta": _stop(self._last), "usage": _usage(part.usage)}
            return _event("content_block_stop", index=0) + _event("message_delta", **stop) + _event("message_stop")
        self._last = part
        start = b"" if self._begun else self._start(part.model)
        self._begun = True
        delta = {"type": "text_delta", "text": part.text}
        return start + (_event("content_block_delta", index=0, delta=delta) if part.text else b"")

    def end(self) -> bytes:
        """As `StreamedAnswer.end`."""
        return b""

    def error(self, error: ServingError) -> bytes:
        """As `StreamedAnswer.error`."""
        return sse_event(error_body(error), "error")

    def _start(self, model: str) -> bytes:
        # The tokens of the prompt come with the end, in `message_delta`, where clients take them from as well.
        message = {**_message(self._id, model, []), **_stop(Piece()), "usage": _usage(Usage())}
        return _event("message_start", message=message) + _event(
            "content_block_start", index=0, content_block={"type": "text", "text": ""}
        )


def _event(name: str, **fields: object) -> bytes:
    return sse_event({"type": name, **fields}, name)


def _message(message_id: str, model: str, content: list[Json]) -> Json:
    return {"id": message_id, "type": "message", "role": "assistant", "model": model, "content": content}


def _stop(last: Piece) -> Json:
    """Why an answer ended with this piece."""
    if last.stop_text:
        return {"stop_reason": "stop_sequence", "stop_sequence": last.stop_text}
    return {"stop_reason": last.finish_reason and _STOP_REASONS[last.finish_reason], "stop_sequence": None}


def _usage(usage: Usage) -> Json:
    """Anthropic's tokens of input are those that were computed."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.completion_tokens,
    }
