"""Timings: how long the parts of an answer took, as llama.cpp says it."""

import time
from collections.abc import Callable

from serving.gateway.request import Usage


class Timings:
    """The clock of one answer; it begins when it is made."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._begun = self._first = self._last = clock()
        self._has_text = False

    def piece(self) -> None:
        """A piece of the answer is there."""
        self._last = self._clock()
        if not self._has_text:
            self._first, self._has_text = self._last, True

    def body(self, usage: Usage) -> dict[str, float]:
        """The `timings` of an answer.

        Until its first piece, waiting included, is `prompt_ms`; what follows is `predicted_ms`. `prompt_n` are the
        tokens of the prompt that were computed, `cache_n` those that were not; `predicted_n`, as the
        `usage`, is of all completions.
        """
        computed = usage.prompt_tokens - usage.cached_tokens
        return {
            "cache_n": usage.cached_tokens,
            **_rates("prompt", computed, 1000 * (self._first - self._begun)),
            **_rates("predicted", usage.completion_tokens, 1000 * (self._last - self._first)),
        }


def _rates(name: str, tokens: int, milliseconds: float) -> dict[str, float]:
    return {
        f"{name}_n": tokens,
        f"{name}_ms": milliseconds,
        f"{name}_per_token_ms": milliseconds / tokens if tokens else 0.0,
        f"{name}_per_second": 1000 * tokens / milliseconds if milliseconds else 0.0,
    }
