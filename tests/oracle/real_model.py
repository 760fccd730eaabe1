"""The real Gemma 3 in transformers: weights and tokenizer from a GGUF file, and prompts for it."""

import random
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import sentencepiece as spm
import torch
from sentencepiece import sentencepiece_model_pb2
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from tests.oracle.corpus import PIECES

_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_SHORT_LENGTHS, _LONG_LENGTHS, _LONG_EACH = (40, 90), (600, 1000), 2
"""Of prompts, in tokens with BOS. The long ones pass the sliding window of 512."""


@dataclass(frozen=True)
class Prompt:
    """A prompt: where it is from, its text, and its token ids with BOS."""

    name: str
    text: str
    ids: list[int]


def load_model(path: Path) -> tuple[Gemma3ForCausalLM, spm.SentencePieceProcessor]:
    """The model in float32 and its tokenizer."""
    reader = gguf.GGUFReader(path)

    def value(key: str) -> float:
        number: float = reader.fields[f"gemma3.{key}"].contents()
        return number

    config = Gemma3TextConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=value("attention.head_count"),
        num_key_value_heads=value("attention.head_count_kv"),
        head_dim=value("attention.key_length"),
        query_pre_attn_scalar=value("attention.key_length"),
        max_position_embeddings=value("context_length"),
        sliding_window=value("attention.sliding_window"),
        attn_implementation="eager",
        dtype="float32",
    )
    state = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        name = _transformers_name(tensor.name)
        # GGUF stores 1 + w for norms.
        state[name] = torch.from_numpy(np.array(weight - 1 if "norm" in name else weight))
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = Gemma3ForCausalLM(config)
    model.load_state_dict(state, strict=True)
    return model.eval(), _tokenizer(reader)


def prompts(tokenizer: spm.SentencePieceProcessor, seed: int) -> list[list[Prompt]]:
    """Batches of prompts of equal length, chosen by the seed: parts of one piece of the corpus, or of several."""
    rng = random.Random(seed)
    names = rng.sample(sorted(PIECES), len(PIECES))
    short = [
        [_cut(tokenizer, rng, name, PIECES[name], length) for name in names[number :: len(_SHORT_LENGTHS)]]
        for number, length in enumerate(_SHORT_LENGTHS)
    ]
    long = [
        [_cut(tokenizer, rng, "several", _joined(rng.sample(names, len(names))), length) for _ in range(_LONG_EACH)]
        for length in _LONG_LENGTHS
    ]
    return short + long


def _joined(names: list[str]) -> str:
    return "\n".join(PIECES[name] for name in names)


def _cut(tokenizer: spm.SentencePieceProcessor, rng: random.Random, name: str, text: str, length: int) -> Prompt:
    """The text from the start of some line on, `length` tokens of it with BOS."""
    lines = text.lstrip("\n").splitlines(keepends=True)
    tokens_after = np.cumsum([len(tokenizer.encode(line)) for line in lines][::-1])[::-1]
    starts = [line for line, tokens in enumerate(tokens_after) if tokens >= 1.2 * length]
    ids = tokenizer.encode("".join(lines[rng.choice(starts) :]))[: length - 1]
    return Prompt(name, tokenizer.decode(ids), [tokenizer.bos_id(), *ids])


def _tokenizer(reader: gguf.GGUFReader) -> spm.SentencePieceProcessor:
    """SentencePiece from the GGUF's metadata."""
    columns = [reader.fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "scores", "token_type")]
    model = sentencepiece_model_pb2.ModelProto()
    for piece, score, kind in zip(*columns, strict=True):
        # GGUF has user-defined runs of spaces as they are; SentencePiece matches them after escaping.
        model.pieces.add(piece=piece.replace(" ", "▁"), score=score, type=kind)
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.bos_piece, model.trainer_spec.eos_piece = "<bos>", "<eos>"
    model.trainer_spec.unk_piece, model.trainer_spec.pad_piece = "<unk>", "<pad>"
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    return spm.SentencePieceProcessor(model_proto=model.SerializeToString())


def _transformers_name(name: str) -> str:
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, parameter, _ = name.split(".")
    return f"model.layers.{layer}.{_NAMES[parameter]}.weight"
