"""What transformers computes in float32: greedy tokens, logits and log probabilities of prompts, to compare with.

Runs in .venv-oracle (requirements.txt) and shares no code with the model:

    .venv-oracle/bin/python -m tests.oracle.oracle --seed 0 --out expected.json [--model FILE.gguf]

Writes FILE.json (tokens, log probabilities) and FILE.npz (logits). With --model, its Gemma 3 is run too.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from tests.oracle.random_checkpoint import CONFIGS, write_checkpoint
from tests.oracle.real_model import load_model, prompts

REAL_STEPS, RANDOM_STEPS = 64, 32
RANDOM_PROMPT_LENGTHS = (1, 7, 24, 45)
MOST_SCORED = 100
"""Tokens of a real prompt that is scored: their logits are held at once."""
NEAR_TIE = 1e-3
"""Where the two best logits of a step are closer, rounding may choose between them: such a prompt has no one right
answer and is left out (the file says how many were)."""


@torch.inference_mode()  # type: ignore[untyped-decorator]  # of another environment
def greedy(model: PreTrainedModel, prompts: list[list[int]], steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Continues prompts of equal length.

    Returns:
      tokens [B, steps]; the smallest difference of the two best logits in any step [B]; the logits after the prompts
      [B, V].
    """
    ids, cache, first = torch.tensor(prompts), None, None
    tokens, margins = [], []
    for _ in range(steps):
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, logits = out.past_key_values, out.logits[:, -1]
        first = logits if first is None else first
        best = logits.topk(2)
        tokens.append(best.indices[:, 0])
        margins.append(best.values[:, 0] - best.values[:, 1])
        ids = tokens[-1][:, None]
    assert first is not None
    return torch.stack(tokens, 1).numpy(), torch.stack(margins, 1).amin(1).numpy(), first.numpy()


@torch.inference_mode()  # type: ignore[untyped-decorator]  # of another environment
def scores(model: PreTrainedModel, prompt: list[int]) -> list[float]:
    """The log probability of each token of a prompt but the first."""
    logits = model(torch.tensor([prompt])).logits[0, :-1]
    targets = torch.tensor(prompt[1:])[:, None]
    own = logits.gather(1, targets)[:, 0] - logits.logsumexp(1)
    return [round(value, 6) for value in own.tolist()]


def run_real(path: Path, seed: int) -> dict[str, Any]:
    """Greedy tokens of the real model, prompts of equal length together."""
    model, tokenizer = load_model(path)
    cases, near_ties = [], 0
    for batch in prompts(tokenizer, seed):
        tokens, margins, _ = greedy(model, [prompt.ids for prompt in batch], REAL_STEPS)
        for prompt, continuation, margin in zip(batch, tokens, margins, strict=True):
            print(f"{prompt.name:24} {len(prompt.ids):5} tokens  margin {margin:.4f}", flush=True)
            if margin < NEAR_TIE:
                near_ties += 1
                continue
            cases.append(
                {
                    "name": prompt.name,
                    "text": prompt.text,
                    "prompt": prompt.ids,
                    "tokens": continuation.tolist(),
                    "margin": float(margin),
                    "logprobs": scores(model, prompt.ids) if len(prompt.ids) <= MOST_SCORED else None,
                }
            )
    return {"dtype": "float32", "model": path.name, "near_ties_left_out": near_ties, "cases": cases}


def run_random(name: str, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Greedy tokens of a random model, and the logits after each prompt [prompts, V]."""
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), name, seed)
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    rng = np.random.default_rng(seed)
    cases, logits = [], []
    for length in RANDOM_PROMPT_LENGTHS:
        margin, prompt = 0.0, []
        while margin < NEAR_TIE:
            prompt = rng.integers(0, CONFIGS[name]["vocab_size"], length).tolist()
            tokens, margins, last = greedy(model, [prompt], RANDOM_STEPS)
            margin = float(margins[0])
        logprobs = scores(model, prompt)
        cases.append({"prompt": prompt, "tokens": tokens[0].tolist(), "margin": margin, "logprobs": logprobs})
        logits.append(last[0])
    distinct = len({token for case in cases for token in case["tokens"]})
    print(f"{name:24} margin {min(case['margin'] for case in cases):.4f}  {distinct} distinct tokens", flush=True)
    return {"seed": seed, "cases": cases}, np.stack(logits)


def main() -> None:
    parser = argparse.ArgumentParser(description="Computes expected tokens and logits with transformers.")
    parser.add_argument("--seed", type=int, required=True, help="of the random weights and of the choice of prompts")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write; logits go beside it as .npz")
    parser.add_argument("--model", type=Path, help="a GGUF file of Gemma 3 to run besides the random models")
    args = parser.parse_args()

    disable_progress_bar()
    expected: dict[str, Any] = {"seed": args.seed, "random": {}}
    logits = {}
    for name in CONFIGS:
        expected["random"][name], logits[name] = run_random(name, args.seed)
    if args.model is not None:
        expected["real"] = run_real(args.model, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")) + "\n")
    np.savez_compressed(args.out.with_suffix(".npz"), **logits)  # type: ignore[arg-type]  # as the names of arrays
    print(f"wrote {args.out} and {args.out.with_suffix('.npz')}")


if __name__ == "__main__":
    main()
