"""How bench/peers.py and the engines it measures talk: lines of JSON over the engine's stdin and stdout.

Each engine is a script that runs in an environment of its own, so this needs the standard library only.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Drawn(NamedTuple):
    """A token and when it was there, in seconds of `time.perf_counter`."""

    token_id: int
    at: float


class Engine(Protocol):
    """A model that is loaded and ready.

    Attributes:
      variants: settings to try, of which the fastest counts.
    """

    variants: Sequence[str]

    def prepare(self, variant: str, prompts: Sequence[Sequence[int]]) -> None:
        """Does what a run of these prompts needs once and is not to be measured."""

    def generate(self, variant: str, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[Drawn]]:
        """Continues all prompts at the same time by the most likely tokens, whatever they are, from nothing kept."""


class Run(NamedTuple):
    """What one run took.

    Attributes:
      first_s: seconds until every prompt had its first token.
      decode_tokens, decode_s: tokens drawn after that and until the first sequence was complete, and the seconds.
      token_ids: of each sequence.
    """

    first_s: float
    decode_tokens: int
    decode_s: float
    token_ids: list[list[int]]


def measure(engine: Engine, variant: str, prompts: Sequence[Sequence[int]], new_tokens: int) -> Run:
    """Runs the prompts once."""
    engine.prepare(variant, prompts)
    start = time.perf_counter()
    sequences = engine.generate(variant, prompts, new_tokens)
    all_began = max(drawn[0].at for drawn in sequences)
    one_ended = min(drawn[-1].at for drawn in sequences)
    decoded = sum(all_began < token.at <= one_ended for drawn in sequences for token in drawn)
    token_ids = [[token.token_id for token in drawn] for drawn in sequences]
    return Run(all_began - start, decoded, one_ended - all_began, token_ids)


def serve(load: Callable[[], Engine]) -> None:
    """Answers requests until stdin ends. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    engine = load()
    print(json.dumps(engine.variants), file=answers)
    for line in sys.stdin:
        print(json.dumps(measure(engine, **json.loads(line))), file=answers)
