"""The OpenAI wire, outwards: from the gateway's answers to response bodies and events."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from typing import Any

from serving.gateway.request import CodeChunk, TokenLogprob, Usage
from serving.gateway.service import ModelInfo

Json = dict[str, Any]


class Writer(ABC):
    """Writes one answer as the bodies of a kind of response."""

    def __init__(self, answer_id: str) -> None:
        self._id = answer_id
        self._created = int(time.time())

    async def whole(self, chunks: AsyncIterable[CodeChunk]) -> Json:
        """The body of an answer that is sent when it is complete."""
        choices: dict[int, list[CodeChunk]] = {}
        usage = Usage()
        last = CodeChunk()
        async for chunk in chunks:
            if chunk.usage:
                usage, last = chunk.usage, chunk
            else:
                choices.setdefault(chunk.index, []).append(chunk)
        return {
            **self._head(last, streamed=False),
            "choices": [self._choice(_joined(pieces)) for _, pieces in sorted(choices.items())],
            "usage": _usage(usage),
        }

    async def events(self, chunks: AsyncIterable[CodeChunk], *, include_usage: bool) -> AsyncGenerator[Json, None]:
        """The bodies of the events of a stream."""
        async for chunk in chunks:
            head = self._head(chunk, streamed=True)
            if not chunk.usage:
                yield {**head, "choices": [self._delta(chunk)]} | ({"usage": None} if include_usage else {})
            elif include_usage:
                yield {**head, "choices": [], "usage": _usage(chunk.usage)}

    def _head(self, chunk: CodeChunk, *, streamed: bool) -> Json:
        return {
            "id": self._id,
            "created": self._created,
            "model": chunk.model,
            "system_fingerprint": chunk.model_version,
            "object": self._object(streamed=streamed),
        }

    @abstractmethod
    def _object(self, *, streamed: bool) -> str: ...

    @abstractmethod
    def _choice(self, chunk: CodeChunk) -> Json: ...

    @abstractmethod
    def _delta(self, chunk: CodeChunk) -> Json: ...


class CompletionWriter(Writer):
    """Writes `text_completion` objects."""

    def __init__(self, answer_id: str) -> None:
        super().__init__(answer_id)
        self._lengths: dict[int, int] = {}  # of the text written so far, by choice

    def _object(self, *, streamed: bool) -> str:
        return "text_completion"

    def _choice(self, chunk: CodeChunk) -> Json:
        return {
            "index": chunk.index,
            "text": chunk.text,
            "logprobs": self._logprobs(chunk),
            "finish_reason": chunk.finish_reason,
        }

    _delta = _choice

    def _logprobs(self, chunk: CodeChunk) -> Json | None:
        if not chunk.logprobs:
            return None
        offsets = []
        for logprob in chunk.logprobs:
            offsets.append(self._lengths.setdefault(chunk.index, 0))
            self._lengths[chunk.index] += len(logprob.token)
        return {
            "tokens": [logprob.token for logprob in chunk.logprobs],
            "token_logprobs": [logprob.logprob for logprob in chunk.logprobs],
            "top_logprobs": [{top.token: top.logprob for top in (*logprob.top, logprob)} for logprob in chunk.logprobs],
            "text_offset": offsets,
        }


class ChatWriter(Writer):
    """Writes `chat.completion` objects."""

    def __init__(self, answer_id: str) -> None:
        super().__init__(answer_id)
        self._begun: set[int] = set()

    def _object(self, *, streamed: bool) -> str:
        return "chat.completion.chunk" if streamed else "chat.completion"

    def _choice(self, chunk: CodeChunk) -> Json:
        message = {"role": "assistant", "content": chunk.text, "refusal": None}
        return {"index": chunk.index, "message": message, **self._end(chunk)}

    def _delta(self, chunk: CodeChunk) -> Json:
        delta = {"content": chunk.text} if chunk.index in self._begun else {"role": "assistant", "content": chunk.text}
        self._begun.add(chunk.index)
        return {"index": chunk.index, "delta": delta, **self._end(chunk)}

    def _end(self, chunk: CodeChunk) -> Json:
        content = [{**_token(logprob), "top_logprobs": list(map(_token, logprob.top))} for logprob in chunk.logprobs]
        return {
            "logprobs": {"content": content, "refusal": None} if content else None,
            "finish_reason": chunk.finish_reason,
        }


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
        "version": info.version,
    }


def _joined(pieces: Sequence[CodeChunk]) -> CodeChunk:
    return CodeChunk(
        index=pieces[0].index,
        text="".join(piece.text for piece in pieces),
        logprobs=tuple(logprob for piece in pieces for logprob in piece.logprobs),
        finish_reason=pieces[-1].finish_reason,
    )


def _token(logprob: TokenLogprob) -> Json:
    return {"token": logprob.token, "logprob": logprob.logprob, "bytes": list(logprob.bytes)}


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
