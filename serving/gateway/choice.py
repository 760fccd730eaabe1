"""Choice: one completion of a request, from the backend's tokens to pieces of text."""

from serving.config import ModelConfig
from serving.engine.request import FinishReason, GenerationChunk
from serving.errors import Reason, ServingError
from serving.gateway.request import Piece
from serving.gateway.text.answer_text import AnswerText
from serving.gateway.text.shown_prompt import ShownPrompt
from serving.gateway.text.stops import StopTexts

_RETRY_AFTER_S = 1.0


class Choice:
    """One of the completions of a request.

    Attributes:
      finished: it has had its last piece; no more tokens are wanted.
      cached_tokens: how many prompt tokens came from the prefix cache.
    """

    def __init__(
        self,
        model: ModelConfig,
        index: int,
        prompt: ShownPrompt,
        answer: AnswerText,
        stops: StopTexts,
        timeout_s: float | None,
        *,
        prompt_only: bool = False,
    ) -> None:
        """Before anything is generated.

        Args:
          model: that generates.
          index: among the choices of the whole answer.
          prompt: what goes before the answer.
          answer: makes text of tokens.
          stops: the client's stop texts, among the filters of `answer`.
          timeout_s: how long the generation may take; for the error of one that takes longer.
          prompt_only: the request wants no tokens; the one that computing its prompt brings all the same is left out.
        """
        self.finished = False
        self.cached_tokens = 0
        self._model = model
        self._index = index
        self._prompt = prompt
        self._answer = answer
        self._stops = stops
        self._timeout_s = timeout_s
        self._prompt_only = prompt_only

    @property
    def tokens(self) -> int:
        """How many tokens were generated for it."""
        return self._answer.tokens

    def feed(self, chunk: GenerationChunk) -> Piece | None:
        """The piece that these tokens make, if any; the last one has the finish reason.

        Raises:
          ServingError: the generation ended for another reason than that it is complete.
        """
        self.cached_tokens = max(self.cached_tokens, chunk.cached_tokens)
        prompt_text, prompt_logprobs, tokens = self._prompt.feed(chunk.tokens)
        text, logprobs = self._answer.feed(() if self._prompt_only else tokens)
        finish_reason: FinishReason | None = None
        if chunk.finish_reason and not self._answer.stopped:
            finish_reason = self._completed(chunk, chunk.finish_reason)
            end = chunk.end if self._prompt.is_scored and not self._prompt_only else None
            last_text, last_logprobs = self._answer.flush(cut=finish_reason is FinishReason.LENGTH, end=end)
            text, logprobs = text + last_text, logprobs + last_logprobs
        if self._answer.stopped:
            finish_reason = FinishReason.LENGTH if self._answer.is_late else FinishReason.STOP
        self.finished = finish_reason is not None
        text = prompt_text + text
        if not (text or prompt_logprobs or logprobs or finish_reason):
            return None
        return Piece(
            model=self._model.id,
            model_version=self._model.version,
            index=self._index,
            text=text,
            prompt_logprobs=prompt_logprobs,
            logprobs=logprobs,
            finish_reason=finish_reason,
            stop_text=self._stops.met,
        )

    def _completed(self, chunk: GenerationChunk, reason: FinishReason) -> FinishReason:
        match reason:
            case FinishReason.STOP | FinishReason.LENGTH:
                return FinishReason.LENGTH if self._prompt_only else reason
            case FinishReason.DEADLINE:
                raise deadline_exceeded(self._timeout_s)
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
            case FinishReason.ADAPTER_NOT_FOUND:
                raise ServingError(Reason.MODEL_NOT_FOUND, chunk.error or "There is no such adapter.")
            case FinishReason.ADAPTER_FAILED:
                raise ServingError(Reason.INVALID_ARGUMENT, chunk.error or "The adapter cannot be loaded.")
            case FinishReason.ERROR:
                raise ServingError(Reason.INTERNAL, chunk.error or "The generation failed.")


def deadline_exceeded(timeout_s: float | None) -> ServingError:
    """The error of a request whose time is over."""
    return ServingError(
        Reason.DEADLINE_EXCEEDED,
        f"The answer was not complete within {timeout_s:g} s. Allow more time or ask for fewer tokens.",
    )
