"""The OpenAI wire, outwards: from the gateway's answers to response bodies and events."""

import time
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from msgspec import Raw

from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.framing import SSE, sse_done, sse_event
from serving.gateway.http.json_text import Json, compact_json
from serving.gateway.http.openai.errors import error_body
from serving.gateway.http.usage import usage_json
from serving.gateway.request import AnswerPart, End, Piece, TokenLogprob
from serving.gateway.service import ModelInfo


class AnswerObjects(ABC):
    """Makes the objects of one answer."""

    def __init__(self, answer_id: str) -> None:
        self._id = answer_id
        self._created = int(time.time())

    def head(self, part: AnswerPart, *, streamed: bool) -> Json:
        """The fields that all objects of an answer have in common."""
        return {
            "id": self._id,
            "created": self._created,
            "model": part.model,
            "system_fingerprint": part.model_version,
            "object": self.name(streamed=streamed),
        }

    @abstractmethod
    def name(self, *, streamed: bool) -> str:
        """What kind of object it is."""

    @abstractmethod
    def choice(self, piece: Piece, logprobs: Json | None) -> Json:
        """A whole choice."""

    @abstractmethod
    def delta(self, piece: Piece, logprobs: Json | None) -> Json:
        """A piece of a choice."""

    @abstractmethod
    def logprobs(self, piece: Piece) -> dict[str, list[Any]]:
        """The log probabilities of a piece, in lists that those of the next piece continue."""


class CompletionObjects(AnswerObjects):
    """Makes `text_completion` objects."""

    def name(self, *, streamed: bool) -> str:
        return "text_completion"

    def choice(self, piece: Piece, logprobs: Json | None) -> Json:
        return {
            "index": piece.index,
            "text": piece.text,
            "logprobs": logprobs,
            "finish_reason": piece.finish_reason,
        }

    delta = choice

    def logprobs(self, piece: Piece) -> dict[str, list[Any]]:
        tokens = (*piece.prompt_logprobs, *piece.logprobs)
        return {
            "tokens": [_name(token) for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [
                None if token.logprob is None else {_name(top): top.logprob for top in (*token.top, token)}
                for token in tokens
            ],
            "text_offset": [token.offset for token in tokens],
        }


class ChatObjects(AnswerObjects):
    """Makes `chat.completion` objects."""

    def __init__(self, answer_id: str) -> None:
        super().__init__(answer_id)
        self._begun: set[int] = set()

    def name(self, *, streamed: bool) -> str:
        return "chat.completion.chunk" if streamed else "chat.completion"

    def choice(self, piece: Piece, logprobs: Json | None) -> Json:
        message = {"role": "assistant", "content": piece.text, "refusal": None}
        return {"index": piece.index, "message": message, **self._end(piece, logprobs)}

    def delta(self, piece: Piece, logprobs: Json | None) -> Json:
        delta = {"content": piece.text} if piece.index in self._begun else {"role": "assistant", "content": piece.text}
        self._begun.add(piece.index)
        return {"index": piece.index, "delta": delta, **self._end(piece, logprobs)}

    def logprobs(self, piece: Piece) -> dict[str, list[Any]]:
        tokens = [{**_token(logprob), "top_logprobs": list(map(_token, logprob.top))} for logprob in piece.logprobs]
        return {"content": tokens}

    def _end(self, piece: Piece, logprobs: Json | None) -> Json:
        return {
            "logprobs": {**logprobs, "refusal": None} if logprobs else None,
            "finish_reason": piece.finish_reason,
        }


class WholeObject(WholeAnswer):
    """One object with all choices."""

    def __init__(self, objects: AnswerObjects) -> None:
        self._objects = objects
        self._choices: dict[int, _Growing] = {}
        self._end = End()

    def add(self, part: AnswerPart) -> None:
        """As `WholeAnswer.add`."""
        if isinstance(part, End):
            self._end = part
        else:
            self._choices.setdefault(part.index, _Growing()).add(part, self._objects.logprobs(part))

    def body(self) -> Json:
        """As `WholeAnswer.body`."""
        return {
            **self._objects.head(self._end, streamed=False),
            "choices": [
                self._objects.choice(each.joined(), each.logprobs()) for _, each in sorted(self._choices.items())
            ],
            "usage": usage_json(self._end.usage),
            **_truncated(self._end),
        }


class StreamedObjects(StreamedAnswer):
    """An event with an object for each piece, then perhaps one with what there is to say of all, then `[DONE]`."""

    framing = SSE

    def __init__(self, objects: AnswerObjects, *, include_usage: bool) -> None:
        self._objects = objects
        self._include_usage = include_usage

    def piece(self, part: AnswerPart) -> bytes:
        """As `StreamedAnswer.piece`."""
        head = self._objects.head(part, streamed=True)
        if isinstance(part, Piece):
            has_logprobs = part.prompt_logprobs or part.logprobs
            choice = self._objects.delta(part, self._objects.logprobs(part) if has_logprobs else None)
            return sse_event({**head, "choices": [choice]} | ({"usage": None} if self._include_usage else {}))
        end = ({"usage": usage_json(part.usage)} if self._include_usage else {}) | _truncated(part)
        return sse_event({**head, "choices": [], **end}) if end else b""

    def end(self) -> bytes:
        """As `StreamedAnswer.end`."""
        return sse_done()

    def error(self, error: ServingError) -> bytes:
        """As `StreamedAnswer.error`."""
        return sse_event(error_body(error))


class _Growing:
    """One choice of an answer that is sent when it is complete.

    Its log probabilities, which may be millions, are JSON as soon as they come: neither their objects nor the work to
    write them pile up.
    """

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._written: dict[str, list[bytes]] = {}

    def add(self, piece: Piece, logprobs: dict[str, list[Any]]) -> None:
        """Takes the next piece."""
        self._pieces.append(replace(piece, prompt_logprobs=(), logprobs=()))
        if piece.prompt_logprobs or piece.logprobs:
            for name, items in logprobs.items():
                self._written.setdefault(name, []).append(compact_json(items)[1:-1])

    def joined(self) -> Piece:
        """The whole choice, but for its log probabilities."""
        pieces = self._pieces
        return replace(pieces[-1], text="".join(piece.text for piece in pieces))

    def logprobs(self) -> dict[str, Raw] | None:
        """All lists of log probabilities, None without any."""
        return {name: Raw(b"[%b]" % b",".join(items)) for name, items in self._written.items()} or None


def _truncated(end: End) -> Json:
    """Ours: whether of `context_files`, which are ours too, some are left out."""
    return {"truncated": True} if end.truncation else {}


def model_object(info: ModelInfo) -> Json:
    """An entry of `/v1/models`."""
    return {
        "id": info.id,
        "object": "model",
        "created": 0,
        "owned_by": "codegemma-serving",
        "aliases": info.aliases,
        "roles": info.roles,
        "fim": info.fim,
        "context_length": info.context_length,
        "max_model_len": info.context_length,
        "version": info.version,
    }


def _name(logprob: TokenLogprob) -> str:
    r"""A token as a completion names it: by its text, or OpenAI's `bytes:\xf0\x9f` for a part of a character."""
    if logprob.token.isascii() or logprob.token.encode() == logprob.bytes:
        return logprob.token
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in logprob.bytes)


def _token(logprob: TokenLogprob) -> Json:
    return {"token": logprob.token, "logprob": logprob.logprob, "bytes": list(logprob.bytes)}
