"""The tensors of a GGUF, by our parameters' paths. Norm weights are stored as 1 + w there.

Names: gguf-py/gguf/constants.py of https://github.com/ggml-org/llama.cpp.
"""

from pathlib import Path

from sharding.checkpoint.binding import bind
from sharding.checkpoint.format import Tensors
from sharding.checkpoint.gguf.header import GgufHeader
from sharding.checkpoint.views import MinusOne
from sharding.config import GemmaConfig

_LAYER_NAMES = {
    "pre_attention_norm": "attn_norm",
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.o": "attn_output",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "post_attention_norm": "post_attention_norm",
    "pre_mlp_norm": "ffn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
    "post_mlp_norm": "post_ffw_norm",
}
EMBEDDING = "token_embd.weight"


def gguf_tensors(file: Path, header: GgufHeader, config: GemmaConfig) -> Tensors:
    """Where the parameters of a model are.

    Raises:
      CheckpointError: a tensor is missing, superfluous or wrongly shaped.
    """
    stored = {name: MinusOne.of(tensor) if "norm" in name else tensor for name, tensor in header.tensors.items()}
    return bind(config, stored, stored_name, where=file)


def stored_name(path: str) -> str:
    """What a parameter is called in the file."""
    match path.split(".", 2):
        case ["layers", layer, parameter]:
            return f"blk.{layer}.{_LAYER_NAMES[parameter]}.weight"
        case ["embedder", "weight"]:
            return EMBEDDING
        case _:
            return "output_norm.weight"
