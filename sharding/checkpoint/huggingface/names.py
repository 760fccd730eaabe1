"""What parameters are called in the files of transformers."""

from sharding.config import GemmaConfig

_LAYER_NAMES = {
    "pre_attention_norm": "input_layernorm",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.o": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "pre_mlp_norm": "pre_feedforward_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
    "post_mlp_norm": "post_feedforward_layernorm",
}
# Gemma 1 has two norms in a layer, and its second one, before the MLP, is the "post_attention_layernorm".
_GEMMA1_LAYER_NAMES = _LAYER_NAMES | {"pre_mlp_norm": "post_attention_layernorm"}


def stored_name(path: str, config: GemmaConfig) -> str:
    """What a parameter is called in the files."""
    match path.split(".", 2):
        case ["layers", layer, parameter]:
            names = _LAYER_NAMES if config.post_norms else _GEMMA1_LAYER_NAMES
            return f"model.layers.{layer}.{names[parameter]}.weight"
        case ["embedder", "weight"]:
            return "model.embed_tokens.weight"
        case _:
            return "model.norm.weight"
