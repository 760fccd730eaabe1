"""llama.cpp's wire, outwards: from the gateway's answers to objects and events."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from serving.engine.request import FinishReason
from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.framing import SSE, sse_event
from serving.gateway.http.json_text import Json
from serving.gateway.http.llamacpp.errors import error_body
from serving.gateway.http.llamacpp.response_fields import selected
from serving.gateway.http.llamacpp.timings import Timings
from serving.gateway.request import AnswerPart, End, Piece


class CompletionObjects:
    """Makes the objects with which the completions of one request end."""

    def __init__(self, fields: Sequence[str], timings: Timings | None = None) -> None:
        """Begins the timings.

        Args:
          fields: what of each object is wanted: `response_fields`.
          timings: those of the answer; None: as by the clock.
        """
        self._fields = fields
        self._timings = timings or Timings()
        self._last: dict[int, Piece] = {}
        self._end = End()

    def add(self, part: AnswerPart) -> None:
        """Takes the next piece, or the end."""
        if isinstance(part, End):
            self._end = part
            return
        if part.finish_reason:
            self._last[part.index] = part
        self._timings.piece()

    def all(self, contents: Mapping[int, str]) -> list[Json]:
        """All of the completions, each with a text."""
        return [self._object(index, contents.get(index, "")) for index in sorted(self._last)]

    def _object(self, index: int, content: str) -> Json:
        usage = self._end.usage
        last = self._last[index]
        return selected(
            {
                "index": index,
                "content": content,
                "stop": True,
                "stop_type": _stop_type(last),
                "stopping_word": last.stop_text,
                "model": self._end.model,
                "tokens_predicted": usage.completion_tokens,
                "tokens_evaluated": usage.prompt_tokens,
                "tokens_cached": usage.cached_tokens,
                "truncated": bool(self._end.truncation),
                "timings": self._timings.body(usage),
            },
            self._fields,
        )


def _stop_type(last: Piece) -> str:
    if last.stop_text:
        return "word"
    return "limit" if last.finish_reason is FinishReason.LENGTH else "eos"


class WholeCompletions(WholeAnswer):
    """An object; of several completions, a list of objects."""

    def __init__(self, objects: CompletionObjects) -> None:
        self._objects = objects
        self._texts: defaultdict[int, list[str]] = defaultdict(list)

    def add(self, part: AnswerPart) -> None:
        """As `WholeAnswer.add`."""
        self._objects.add(part)
        if isinstance(part, Piece):
            self._texts[part.index].append(part.text)

    def body(self) -> Json | list[Json]:
        """As `WholeAnswer.body`."""
        objects = self._objects.all({index: "".join(texts) for index, texts in self._texts.items()})
        return objects[0] if len(objects) == 1 else objects


class StreamedCompletions(StreamedAnswer):
    """An event for each piece of text, then one for each completion, with its timings and without text."""

    framing = SSE

    def __init__(self, objects: CompletionObjects) -> None:
        self._objects = objects

    def piece(self, part: AnswerPart) -> bytes:
        """As `StreamedAnswer.piece`."""
        self._objects.add(part)
        if isinstance(part, End) or not part.text:
            return b""
        return sse_event({"index": part.index, "content": part.text, "stop": False})

    def end(self) -> bytes:
        """As `StreamedAnswer.end`."""
        return b"".join(map(sse_event, self._objects.all({})))

    def error(self, error: ServingError) -> bytes:
        """As `StreamedAnswer.error`."""
        return sse_event(error_body(error))
