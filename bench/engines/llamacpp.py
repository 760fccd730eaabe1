"""llama.cpp, by its C interface: all sequences in one batch, each step one `llama_decode`.

.venv-peers-llama/bin/python bench/engines/llamacpp.py FORMAT CHECKPOINT
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import llama_cpp as llama
import numpy as np
from protocol import Drawn, serve

FILE_TYPES = {"F32": llama.LLAMA_FTYPE_ALL_F32, "Q8_0": llama.LLAMA_FTYPE_MOSTLY_Q8_0}
"""Formats that are made of the checkpoint; any other is taken to be its own."""
CACHE = Path(__file__).parents[2] / ".cache" / "peers"
BATCH_TOKENS, STEP_TOKENS = 2048, 512
"""Of one call, and of one graph: llama.cpp's own defaults."""
ROOM = 128
"""Tokens of a sequence beyond its prompt, at least."""


def converted(weights: str, checkpoint: Path) -> Path:
    """The checkpoint in a format: a file that is made once, of dequantised weights."""
    if weights not in FILE_TYPES:
        return checkpoint
    target = CACHE / f"{checkpoint.stem}-from-{checkpoint.stat().st_size}-{weights}.gguf"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        params = llama.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize, params.nthread = FILE_TYPES[weights], True, os.cpu_count()
        if llama.llama_model_quantize(bytes(checkpoint), bytes(partial), ctypes.byref(params)):
            raise RuntimeError(f"llama.cpp cannot convert {checkpoint} to {weights}.")
        partial.rename(target)
    return target


class LlamaCpp:
    """A model, and a context that fits the newest prompts. The variants are flash attention or not."""

    variants = ("flash", "plain")

    def __init__(self, weights: str, checkpoint: str) -> None:
        llama.llama_backend_init()
        print(llama.llama_print_system_info().decode(), file=sys.stderr)
        path = converted(weights, Path(checkpoint))
        self._model = llama.llama_model_load_from_file(bytes(path), llama.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {path}.")
        self._vocab_size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        self._batch = llama.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._shape: tuple[str, int, int] | None = None
        self._context = None

    def prepare(self, variant: str, prompts: Sequence[Sequence[int]]) -> None:
        """Makes a context for prompts of a new shape and runs them once, so that its memory is there."""
        length = -(-(max(map(len, prompts)) + ROOM) // 256) * 256
        shape = variant, len(prompts), length
        if shape == self._shape:
            return
        if self._context:
            llama.llama_free(self._context)
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_seq_max = length * len(prompts), len(prompts)
        params.n_batch, params.n_ubatch = BATCH_TOKENS, STEP_TOKENS
        params.n_threads = params.n_threads_batch = os.cpu_count()
        params.flash_attn_type = (
            llama.LLAMA_FLASH_ATTN_TYPE_ENABLED if variant == "flash" else llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        self._context = llama.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError(f"llama.cpp cannot make a context for {shape}.")
        self._shape = shape
        self.generate(variant, prompts, 4)

    def generate(self, variant: str, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[Drawn]]:
        """See `Engine`."""
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        drawn: list[list[Drawn]] = [[] for _ in prompts]
        prompt_tokens = [
            (token, position, sequence, position + 1 == len(prompt))
            for sequence, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
        ]
        for start in range(0, len(prompt_tokens), BATCH_TOKENS):
            self._decode(prompt_tokens[start : start + BATCH_TOKENS], drawn)
        for step in range(new_tokens - 1):
            self._decode(
                [
                    (drawn[sequence][-1].token_id, len(prompt) + step, sequence, True)
                    for sequence, prompt in enumerate(prompts)
                ],
                drawn,
            )
        return drawn

    def _decode(self, tokens: Sequence[tuple[int, int, int, bool]], drawn: list[list[Drawn]]) -> None:
        """Computes tokens, each with its position, its sequence and whether another one is drawn after it."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, (token, position, sequence, draws) in enumerate(tokens):
            batch.token[index], batch.pos[index], batch.logits[index] = token, position, draws
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
        if code := llama.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode answered {code}.")
        for index, (_, _, sequence, draws) in enumerate(tokens):
            if draws:  # NumPy's argmax takes a tenth of the time of llama.cpp's greedy sampler
                logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(self._context, index), (self._vocab_size,))
                drawn[sequence].append(Drawn(int(logits.argmax()), perf_counter()))


if __name__ == "__main__":
    serve(lambda: LlamaCpp(*sys.argv[1:]))
