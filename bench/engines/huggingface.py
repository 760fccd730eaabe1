"""Hugging Face transformers, with `generate`.

.venv-oracle/bin/python bench/engines/huggingface.py FORMAT CHECKPOINT
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch
from protocol import Drawn, serve
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

sys.path.append(str(Path(__file__).parents[2]))
from tests.oracle.real_model import load_model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Arrivals(BaseStreamer):  # type: ignore[misc]  # of another environment
    """Notes when each step's tokens are there; the first call brings the prompts."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, list[int]]] = []

    def put(self, value: torch.Tensor) -> None:
        """Takes the tokens [B] of a step."""
        self.steps.append((perf_counter(), value.flatten().tolist()))

    def end(self) -> None:
        """Nothing to do."""


class HuggingFace:
    """A model whose attention is torch's fused one. The variants are its kinds of KV cache."""

    variants = ("dynamic", "static")

    def __init__(self, weights: str, checkpoint: str) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        self._model, _ = load_model(Path(checkpoint))
        self._model.set_attn_implementation("sdpa")
        for parameter in self._model.parameters():  # not the frequencies of the rotation, which stay in float32
            parameter.data = parameter.data.to(DTYPES[weights])

    def prepare(self, variant: str, prompts: Sequence[Sequence[int]]) -> None:
        """Computes a few tokens, so that torch has its threads and its memory."""
        self.generate(variant, prompts, 2)

    def generate(self, variant: str, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[Drawn]]:
        """See `Engine`; all prompts have the same length."""
        arrivals = Arrivals()
        config = GenerationConfig(
            max_new_tokens=new_tokens, do_sample=False, cache_implementation=variant, pad_token_id=0, eos_token_id=None
        )
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            self._model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config, streamer=arrivals)
        _, *steps = arrivals.steps
        return [[Drawn(tokens[index], at) for at, tokens in steps] for index in range(len(prompts))]


if __name__ == "__main__":
    serve(lambda: HuggingFace(*sys.argv[1:]))
