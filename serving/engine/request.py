"""What the engine is asked for and what it answers: token ids, never text."""

from enum import IntEnum, StrEnum

import msgspec
from msgspec.structs import replace

from sharding.step import SamplingParams, Token


class Priority(IntEnum):
    """Who waits for a generation; a smaller one goes first."""

    URGENT = 0
    """A completion at the cursor: worthless once the next key is pressed."""
    NORMAL = 1
    """An answer that is read as it comes."""


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence to generate.

    Attributes:
      request_id: unique among the requests in flight.
      prompt_ids: the rendered prompt, BOS included; at least one id.
      max_tokens: generate at most this many tokens; at least one.
      stop_ids: generation ends at any of these, which are never emitted.
      timeout_s: seconds after which the result is worthless, from `sent_at`, or from submission without it; None
        waits for ever.
      sent_at: Unix time at which the gateway took the request, so that waiting before the engine counts.
      priority: urgent ones go before all others.
      session_id: of several urgent requests with the same one, the newest by `sent_at` ends the others; empty: none.
      repeated: the client has sent it before, so that it is older than `sent_at`: than all that are not.
      cache_domain: requests of different ones share neither cached pages nor a computation, so that none learns by the
        time it takes what another has asked.
      adapter: name of the adapter that generates it; empty: the model as it is.
      trace: names the span that it is part of, as W3C's `traceparent`; empty for one that is not followed.
      scores_prompt: its chunks begin with the tokens of the prompt but the first, each with its log probability, and
        all of them are computed for this request, whatever is cached; `sampling.logprobs` is not None then.
    """

    request_id: str
    prompt_ids: tuple[int, ...]
    max_tokens: int
    sampling: SamplingParams = SamplingParams()
    stop_ids: frozenset[int] = frozenset()
    timeout_s: float | None = None
    sent_at: float | None = None
    priority: Priority = Priority.NORMAL
    session_id: str = ""
    repeated: bool = False
    cache_domain: str = ""
    adapter: str = ""
    trace: str = ""
    scores_prompt: bool = False


class FinishReason(StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    DEADLINE = "deadline"
    ADAPTER_NOT_FOUND = "adapter_not_found"
    """Its adapter was removed before it was loaded."""
    ADAPTER_FAILED = "adapter_failed"
    """Its adapter cannot be loaded: nothing is wrong with the engine."""
    ERROR = "error"
    """The engine failed."""


class GenerationChunk(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Tokens that became available together; the last chunk of a generation has a finish reason.

    Attributes:
      cached_tokens: how many prompt tokens came from the prefix cache.
      error: what went wrong, for `FinishReason.ERROR` and those of adapters; written for the client, without internals.
      end: of a request for log probabilities, the stop id that ended it.
    """

    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0
    error: str | None = None
    end: Token | None = None

    def followed_by(self, later: "GenerationChunk") -> "GenerationChunk":
        """This chunk and the next one of its generation, together."""
        return replace(
            later,
            tokens=self.tokens + later.tokens,
            cached_tokens=self.cached_tokens + later.cached_tokens,
        )
