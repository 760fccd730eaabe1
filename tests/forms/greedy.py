"""What transformers generates from a Hugging Face directory, and how its tokenizer reads texts.

Runs in .venv-forms (requirements.txt), on prompts of equal length:

    .venv-forms/bin/python -m tests.forms.greedy --model DIRECTORY --prompts prompts.json --out generated.json
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from tests.oracle.oracle import greedy


def main() -> None:
    parser = argparse.ArgumentParser(description="Generates greedily with transformers.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True, help='{"texts": [...], "ids": [[...]], "steps": 64}')
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    disable_progress_bar()
    asked = json.loads(args.prompts.read_text())
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager").eval()
    tokens, margins, _ = greedy(model, asked["ids"], asked["steps"])
    found = {"ids": [tokenizer.encode(text, add_special_tokens=False) for text in asked["texts"]]}
    args.out.write_text(json.dumps(found | {"tokens": tokens.tolist(), "margins": margins.tolist()}))


if __name__ == "__main__":
    main()
