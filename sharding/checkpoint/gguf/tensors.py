"""The tensors of a GGUF, by our parameters' paths. Norm weights are stored as 1 + w there.

Names: gguf-py/gguf/constants.py of https://github.com/ggml-org/llama.cpp.
"""

from collections.abc import Mapping

from sharding.checkpoint.binding import bind
from sharding.checkpoint.byte_range import ByteRange
from sharding.checkpoint.format import Tensors
from sharding.checkpoint.gguf.blocks import grouped
from sharding.checkpoint.gguf.files import Gguf
from sharding.checkpoint.grouped import kept
from sharding.checkpoint.tied_head import drop_tied_head
from sharding.checkpoint.views import MinusOne
from sharding.config import NOT_QUANTISED, GemmaConfig

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
HEAD = "output.weight"


def gguf_tensors(found: Gguf, config: GemmaConfig) -> Tensors:
    """Where the parameters of a model are.

    Raises:
      CheckpointError: a tensor is missing, superfluous or wrongly shaped.
    """
    stored = {
        name: MinusOne.of(tensor) if "norm" in name else grouped(tensor) for name, tensor in found.tensors.items()
    }
    drop_tied_head(stored, HEAD, EMBEDDING)
    return bind(config.quantised(NOT_QUANTISED), stored, stored_name, where=found.file, of_one_half=False)


def kept_as_stored(tensors: Mapping[str, ByteRange], config: GemmaConfig) -> GemmaConfig:
    """Returns the model, quantised as its file is, where something of ours holds that."""
    projections = [
        grouped(tensor) for name, tensor in tensors.items() if name.startswith("blk.") and "norm" not in name
    ]
    return kept(config, projections, grouped(tensors[EMBEDDING]))


def stored_name(path: str) -> str:
    """What a parameter is called in the file."""
    match path.split(".", 2):
        case ["layers", layer, parameter]:
            return f"blk.{layer}.{_LAYER_NAMES[parameter]}.weight"
        case ["embedder", "weight"]:
            return EMBEDDING
        case _:
            return "output_norm.weight"
