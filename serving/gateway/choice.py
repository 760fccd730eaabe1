"""Choice: one completion of a request, from the backend's tokens to chunks of text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from serving.config import ModelConfig
from serving.engine.request import FinishReason, GenerationChunk, GenerationRequest
from serving.errors import Reason, ServingError
from serving.gateway.request import CodeChunk, TokenLogprob
from serving.gateway.text.answer import Answer

_RETRY_AFTER_S = 1.0


class ModelBackend(Protocol):
    """The replica groups of one model: tokens in, tokens out."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationChunk, None]:
        """Generate one sequence; closing the generator aborts it.

        Raises:
          ServingError: the request was refused or the group failed.
        """
        ...

    async def ready(self) -> bool:
        """Whether some group answers now."""
        ...


class Choice:
    """One of the completions of a request.

    Attributes:
      answer: its text so far.
      cached_tokens: how many prompt tokens came from the prefix cache.
    """

    def __init__(
        self, model: ModelConfig, index: int, answer: Answer, request: GenerationRequest, max_tokens: int
    ) -> None:
        """Of a request for no tokens, whose prompt is computed all the same, the one that this brings is left out."""
        self.answer = answer
        self._model = model
        self.cached_tokens = 0
        self._index = index
        self._request = request
        self._max_tokens = max_tokens

    async def chunks(self, backend: ModelBackend) -> AsyncGenerator[CodeChunk, None]:
        """The completion as it is generated; the last chunk has the finish reason.

        A stop text closes the backend's generation at once.

        Raises:
          ServingError: the generation failed, or ended for another reason than that it is complete.
        """
        finish_reason: FinishReason | None = None
        async with aclosing(backend.generate(self._request)) as generation:
            async for chunk in generation:
                self.cached_tokens = max(self.cached_tokens, chunk.cached_tokens)
                text, logprobs = self.answer.feed(chunk.tokens if self._max_tokens else ())
                if self.answer.stopped:
                    finish_reason = FinishReason.STOP
                    break
                if chunk.finish_reason:
                    finish_reason = self._completed(chunk)
                    break
                if text or logprobs:
                    yield self._chunk(text, logprobs)
            else:
                raise ServingError(Reason.INTERNAL, "The generation ended without saying why.")
        if not self.answer.stopped:
            last_text, last_logprobs = self.answer.flush()
            text, logprobs = text + last_text, logprobs + last_logprobs
            finish_reason = FinishReason.STOP if self.answer.stopped else finish_reason
        yield self._chunk(text, logprobs, finish_reason)

    def _chunk(
        self, text: str, logprobs: tuple[TokenLogprob, ...], finish_reason: FinishReason | None = None
    ) -> CodeChunk:
        return CodeChunk(
            model=self._model.id,
            model_version=self._model.version,
            index=self._index,
            text=text,
            logprobs=logprobs,
            finish_reason=finish_reason,
        )

    def _completed(self, chunk: GenerationChunk) -> FinishReason:
        match chunk.finish_reason:
            case FinishReason.STOP | FinishReason.LENGTH as reason:
                return reason if self._max_tokens else FinishReason.LENGTH
            case FinishReason.DEADLINE:
                raise deadline_exceeded(self._request.timeout_s)
            case FinishReason.SUPERSEDED:
                raise ServingError(
                    Reason.SUPERSEDED,
                    "A newer request of its session took the place of this one.",
                )
            case FinishReason.ABORTED:
                raise ServingError(
                    Reason.UNAVAILABLE,
                    "The server gave up this generation, as it does when it shuts down. Try again.",
                    retry_after_s=_RETRY_AFTER_S,
                )
            case _:
                raise ServingError(Reason.INTERNAL, chunk.error or "The generation failed.")


def deadline_exceeded(timeout_s: float | None) -> ServingError:
    """The error of a request whose time is over."""
    return ServingError(
        Reason.DEADLINE_EXCEEDED,
        f"The answer was not complete within {timeout_s:g} s. Allow more time or ask for fewer tokens.",
    )
