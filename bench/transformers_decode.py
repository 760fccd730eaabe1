"""Tokens per second of Hugging Face transformers at batch 1 in float32, for a Gemma 3 of given sizes.

Needs torch and transformers only. The weights are random: speed does not depend on them.

    python bench/transformers_decode.py '{"vocab_size": 262144, ...}'  ->  a number
"""

import json
import sys
import time

import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

PROMPT_TOKENS, NEW_TOKENS, REPEATS = 16, 32, 3


def main() -> None:
    """Prints tokens per second, prefill excluded."""
    model = Gemma3ForCausalLM(Gemma3TextConfig(**json.loads(sys.argv[1]), dtype="float32")).eval()
    prompt = torch.arange(100, 100 + PROMPT_TOKENS)[None]

    def seconds(new_tokens: int) -> float:
        start = time.perf_counter()
        model.generate(prompt, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False)
        return time.perf_counter() - start

    seconds(2)
    prefill = min(seconds(1) for _ in range(REPEATS))
    total = min(seconds(1 + NEW_TOKENS) for _ in range(REPEATS))
    print(NEW_TOKENS / (total - prefill))


if __name__ == "__main__":
    main()
