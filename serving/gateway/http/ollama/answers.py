"""Ollama's wire, outwards: from the gateway's answers to objects, a line for each in a stream."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.framing import NDJSON, ndjson_line
from serving.gateway.http.json_text import Json
from serving.gateway.http.ollama.errors import error_body
from serving.gateway.request import AnswerPart, End, Piece, TokenLogprob, Usage

type Text = Callable[[str], Json]
"""The field that holds text: `generated` or `said`."""


def generated(text: str) -> Json:
    """The text of a generation."""
    return {"response": text}


def said(text: str) -> Json:
    """The text of a chat."""
    return {"message": {"role": "assistant", "content": text}}


def loaded(model: str, text: Text) -> Json:
    """What a request without a prompt gets: Ollama's clients load models that way."""
    return {**_head(model), **text(""), "done": True, "done_reason": "load"}


class AnswerObjects:
    """Makes the objects of one answer, and takes the times that the last one has."""

    def __init__(self, model: str, text: Text) -> None:
        """Begins now. `model` is what the client calls it."""
        self._model = model
        self._text = text
        self._began = self._first = time.perf_counter_ns()
        self._finish_reason = ""

    def take(self, part: AnswerPart) -> None:
        """Sees each piece, and the end."""
        if self._first == self._began:
            self._first = time.perf_counter_ns()
        if isinstance(part, Piece) and part.finish_reason:
            self._finish_reason = part.finish_reason

    def part(self, text: str, logprobs: list[Json]) -> Json:
        """A piece of the answer, which may be empty."""
        return self._object(text, logprobs) | {"done": False}

    def last(self, text: str, logprobs: list[Json], usage: Usage) -> Json:
        """The object that ends the answer."""
        now = time.perf_counter_ns()
        return self._object(text, logprobs) | {
            "done": True,
            "done_reason": self._finish_reason,
            "total_duration": now - self._began,
            "load_duration": 0,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": self._first - self._began,
            "eval_count": usage.completion_tokens,
            "eval_duration": max(now - self._first, 1),  # clients divide by it
        }

    def _object(self, text: str, logprobs: list[Json]) -> Json:
        return {**_head(self._model), **self._text(text)} | ({"logprobs": logprobs} if logprobs else {})


class WholeObject(WholeAnswer):
    """One object."""

    def __init__(self, objects: AnswerObjects) -> None:
        self._objects = objects
        self._texts: list[str] = []
        self._logprobs: list[Json] = []
        self._usage = Usage()

    def add(self, part: AnswerPart) -> None:
        """As `WholeAnswer.add`."""
        self._objects.take(part)
        if isinstance(part, End):
            self._usage = part.usage
        else:
            self._texts.append(part.text)
            self._logprobs += map(_token, part.logprobs)

    def body(self) -> Json:
        """As `WholeAnswer.body`."""
        return self._objects.last("".join(self._texts), self._logprobs, self._usage)


class StreamedLines(StreamedAnswer):
    """A line for each piece, and one that ends the answer. A sign of life is a piece without text."""

    def __init__(self, objects: AnswerObjects) -> None:
        self._objects = objects
        self.framing = NDJSON._replace(sign_of_life=ndjson_line(objects.part("", [])))

    def piece(self, part: AnswerPart) -> bytes:
        """As `StreamedAnswer.piece`."""
        self._objects.take(part)
        if isinstance(part, End):
            return ndjson_line(self._objects.last("", [], part.usage))
        logprobs = list(map(_token, part.logprobs))
        return ndjson_line(self._objects.part(part.text, logprobs)) if part.text or logprobs else b""

    def end(self) -> bytes:
        """As `StreamedAnswer.end`."""
        return b""

    def error(self, error: ServingError) -> bytes:
        """As `StreamedAnswer.error`."""
        return ndjson_line(error_body(error))


def timestamp(moment: datetime) -> str:
    """A time in UTC, as RFC 3339 has it."""
    return moment.isoformat().replace("+00:00", "Z")


def _head(model: str) -> Json:
    return {"model": model, "created_at": timestamp(datetime.now(UTC))}


def _token(logprob: TokenLogprob) -> Json:
    token = {"token": logprob.token, "logprob": logprob.logprob, "bytes": list(logprob.bytes)}
    return token | ({"top_logprobs": list(map(_token, logprob.top))} if logprob.top else {})
