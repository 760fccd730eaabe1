"""Hugging Face checkpoints by transformers."""

from pathlib import Path
from typing import Any

import torch
from transformers import GemmaConfig, GemmaForCausalLM

from tests.forms.weights import tokenizer
from tests.oracle.random_checkpoint import Tensors


def write_huggingface(
    path: Path, config: dict[str, Any], tensors: Tensors, dtype: torch.dtype = torch.float32, shard: str = "5GB"
) -> None:
    """By `save_pretrained`."""
    model = GemmaForCausalLM(GemmaConfig.from_dict(config))
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    model.load_state_dict(state | {"lm_head.weight": state["model.embed_tokens.weight"]})
    model.to(dtype).save_pretrained(path, max_shard_size=shard)
    (path / "tokenizer.model").write_bytes(tokenizer(config["vocab_size"]))
