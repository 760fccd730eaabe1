"""This project's engine as the service runs it, without the service around it.

.venv/bin/python bench/engines/ours.py FORMAT CHECKPOINT
"""

import sys
from collections.abc import Callable, Sequence
from itertools import count
from queue import SimpleQueue
from time import perf_counter
from typing import Literal

from protocol import Drawn, serve

from serving.config import LimitsConfig, ModelConfig, Role
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.engine.request import GenerationChunk, GenerationRequest
from serving.group.runner import load_runner

QUANTIZE: dict[str, Literal["int8", "int8-weights"] | None] = {
    "float32": None,
    "int8": "int8",
    "int8-weights": "int8-weights",
}
LIMITS = LimitsConfig(max_rows=16, max_step_tokens=256, max_context=2048, kv_tokens=16384)
"""As of the demo, for 16 rows."""


class Ours:
    """A real engine with a real runner, in a thread of its own."""

    variants = ("",)

    def __init__(self, weights: str, checkpoint: str) -> None:
        model = ModelConfig(
            id="ours",
            checkpoint=checkpoint,
            roles=(Role.CHAT,),
            dtype="float32",
            quantize=QUANTIZE[weights],
            limits=LIMITS,
        )
        self._engine = Engine(
            load_runner(model, lambda phase, done, total: print(phase, done, total, file=sys.stderr)),
            max_queue=LIMITS.max_queue,
        )
        self._runs = count()
        EngineThread(self._engine).start()

    def prepare(self, variant: str, prompts: Sequence[Sequence[int]]) -> None:
        """Nothing: what is kept of earlier runs belongs to other domains of the prefix cache."""

    def generate(self, variant: str, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[Drawn]]:
        """See `Engine`."""
        arrivals: SimpleQueue[tuple[int, float, GenerationChunk]] = SimpleQueue()
        run = str(next(self._runs))

        def noting(index: int) -> Callable[[GenerationChunk], None]:
            return lambda chunk: arrivals.put((index, perf_counter(), chunk))

        for index, prompt in enumerate(prompts):
            request = GenerationRequest(
                request_id=f"{run}-{index}", prompt_ids=tuple(prompt), max_tokens=new_tokens, cache_domain=run
            )
            self._engine.submit(request, noting(index))
        drawn: list[list[Drawn]] = [[] for _ in prompts]
        ended = 0
        while ended < len(prompts):
            index, at, chunk = arrivals.get()
            drawn[index] += [Drawn(token.id, at) for token in chunk.tokens]
            ended += chunk.finish_reason is not None
            if chunk.error:
                raise RuntimeError(chunk.error)
        return drawn


if __name__ == "__main__":
    serve(lambda: Ours(*sys.argv[1:]))
