"""Timeline: what an engine did for one request and when, for a request that is followed."""

from dataclasses import dataclass, field

from serving.engine.request import FinishReason


@dataclass(frozen=True, slots=True)
class TracedStep:
    """One step in which a request took part.

    Attributes:
      started, ended: seconds on the engine's clock, around the model.
      tokens: computed for the request: several in prefill, one in decode.
      sampled: whether a token was drawn after them.
    """

    started: float
    ended: float
    tokens: int
    sampled: bool


@dataclass(slots=True, kw_only=True)
class Timeline:
    """The life of one request in an engine.

    Attributes:
      trace: the request's.
      submitted: seconds on the engine's clock.
      steps: those it took part in, in order.
      ended: when its last chunk was sent; None while it is in flight.
      finish_reason: why.
      cached_tokens: of its prompt, found in the prefix cache.
    """

    trace: str
    submitted: float
    steps: list[TracedStep] = field(default_factory=list)
    ended: float | None = None
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0
