"""Writes random models in every form, each by a library that is not ours, and what transformers computes from them.

Runs in .venv-forms (requirements.txt) and shares no code with the readers:

    .venv-forms/bin/python -m tests.forms.write --seed 0 --out DIRECTORY

Writes DIRECTORY/MODEL/WEIGHTS/FORM. All forms below the same WEIGHTS stand for the same numbers. Beside them are
`expected.json`, the prompts with their greedy tokens and log probabilities by transformers from the Hugging Face form,
and `expected.npz`, the logits after each prompt.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from tests.forms.gemma_pytorch import (
    int8_numbers,
    write_gemma_pytorch,
    write_gemma_pytorch_quant,
    write_gemma_pytorch_shards,
)
from tests.forms.huggingface import write_huggingface
from tests.forms.jlama import jlama_numbers, write_jlama
from tests.forms.keras import keras_logits, write_keras
from tests.forms.llama_cpp import gguf_numbers, write_gguf
from tests.forms.nemo import write_nemo1, write_nemo1_zarr, write_nemo2
from tests.forms.orbax import write_orbax
from tests.forms.weights import MODELS, weights
from tests.oracle.oracle import greedy, scores
from tests.oracle.random_checkpoint import Tensors

Write = Callable[[Path, dict[str, Any], Tensors], None]

HUGGING_FACE = "huggingface"
FORMS: dict[str, dict[str, Write]] = {
    "exact": {
        "huggingface-shards": partial(write_huggingface, dtype=torch.bfloat16, shard="500KB"),
        "bf16.gguf": partial(write_gguf, kind=Type.BF16),
        "gguf-set": partial(write_gguf, kind=Type.F32, tensors_per_file=9),
        "nemo1.nemo": partial(write_nemo1, mode="w:"),
        "nemo1-gz.nemo": partial(write_nemo1, mode="w:gz"),
        "nemo1-zarr.nemo": partial(write_nemo1_zarr, ranks=1),
        "nemo1-zarr-2.nemo": partial(write_nemo1_zarr, ranks=2),
        "nemo2": write_nemo2,
        "orbax-zarr": partial(write_orbax, is_database=False),
        "orbax-ocdbt": partial(write_orbax, is_database=True),
        "keras": write_keras,
        "keras-shards": partial(write_keras, dtype="bfloat16", shard_gb=1e-3),
        "gemma_pytorch": write_gemma_pytorch,
        "gemma_pytorch-shards": write_gemma_pytorch_shards,
    },
    "q8_0": {"q8_0.gguf": partial(write_gguf, kind=Type.Q8_0)},
    "q4_0": {"q4_0.gguf": partial(write_gguf, kind=Type.Q4_0)},
    "jlama-i8": {"jlama-i8": partial(write_jlama, kind="I8")},
    "jlama-q4": {"jlama-q4": partial(write_jlama, kind="Q4")},
    "int8": {"gemma_pytorch-quant": write_gemma_pytorch_quant},
}
"""By the weights that they stand for: all but the Hugging Face form, which each of these has as well."""
NUMBERS: dict[str, Callable[[Tensors], Tensors]] = {
    "exact": dict,
    "q8_0": partial(gguf_numbers, kind=Type.Q8_0),
    "q4_0": partial(gguf_numbers, kind=Type.Q4_0),
    "jlama-i8": partial(jlama_numbers, kind="I8"),
    "jlama-q4": partial(jlama_numbers, kind="Q4"),
    "int8": int8_numbers,
}
"""What a form of that name leaves of the numbers."""

PROMPT_LENGTHS, STEPS = (7, 12, 24, 33), 12
NEAR_TIE = 1e-2
"""Where the two best logits are closer, activations of 16 bits, with which CPUs multiply int8, may choose another."""
TEXT_IDS = 217
"""Ids from here on are bytes and text."""
ENDS = {0, 1, 2, 3, 67, 68, 69, 70, 106, 107}
"""Control tokens, of which some end an answer."""
MAX_RELATIVE_ERROR = 1e-4
"""Of the logits that KerasHub computes of its own form: its model has the weights where it should."""


def expected(model: PreTrainedModel, vocab_size: int, seed: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Prompts with what transformers computes for them, and the logits after each [prompts, V]."""
    rng = np.random.default_rng(seed)
    cases, logits = [], []
    for length in PROMPT_LENGTHS:
        while True:
            prompt = rng.integers(TEXT_IDS, vocab_size, length).tolist()
            tokens, margins, last = greedy(model, [prompt], STEPS)
            if margins[0] >= NEAR_TIE and not ENDS.intersection(tokens[0].tolist()):
                break
        continued = prompt + tokens[0].tolist()
        cases.append({"prompt": prompt, "tokens": tokens[0].tolist(), "logprobs": scores(model, continued)})
        logits.append(last[0])
    return cases, np.stack(logits)


def check_keras(config: dict[str, Any], tensors: Tensors, prompt: list[int], logits: np.ndarray) -> None:
    """Looks that KerasHub computes the same as transformers."""
    error = np.abs(keras_logits(config, tensors, prompt) - logits).max() / np.abs(logits).max()
    print(f"KerasHub's own logits differ from transformers' by {error:.1e}", flush=True)
    assert error < MAX_RELATIVE_ERROR


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes random models in every form, by other libraries.")
    parser.add_argument("--seed", type=int, required=True, help="of the weights and prompts")
    parser.add_argument("--out", type=Path, required=True, help="a directory to make")
    args = parser.parse_args()

    disable_progress_bar()
    for name, config in MODELS.items():
        tensors = weights(config, args.seed)
        for kind, forms in FORMS.items():
            out = args.out / name / kind
            out.mkdir(parents=True)
            numbers = NUMBERS[kind](tensors)
            write_huggingface(out / HUGGING_FACE, config, numbers)
            for form, write in forms.items():
                write(out / form, config, tensors)
                print(f"{name} as {form}", flush=True)
            model = AutoModelForCausalLM.from_pretrained(
                out / HUGGING_FACE, dtype=torch.float32, attn_implementation="eager"
            ).eval()
            cases, logits = expected(model, config["vocab_size"], args.seed)
            if "keras" in forms:
                check_keras(config, numbers, cases[0]["prompt"], logits[0])
            (out / "expected.json").write_text(json.dumps(cases))
            np.savez(out / "expected.npz", logits=logits)


if __name__ == "__main__":
    main()
