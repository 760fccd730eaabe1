"""GemmaConfig from the `config.json` of Hugging Face transformers, for `gemma`, `gemma3_text` and `gemma3`."""

from collections.abc import Mapping, Sequence
from typing import Any

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import MAX_LAYERS, MAX_SIZE, positive, size
from sharding.config import NOT_QUANTISED, GemmaConfig
from sharding.quantization import Quantization

_GEMMA_DEFAULTS = {
    "vocab_size": 256_000,
    "hidden_size": 3072,
    "intermediate_size": 24_576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
}
_GEMMA3_DEFAULTS = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}
"""What transformers' `GemmaConfig` and `Gemma3TextConfig` take for the fields that a config.json leaves out."""

_SIZE_FIELDS = {
    "vocab_size": "vocab_size",
    "embed_dim": "hidden_size",
    "mlp_dim": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "max_context": "max_position_embeddings",
}

# Gemma's GELU is always the tanh approximation; early releases wrote "gelu" and meant it too.
_GELU = (None, "gelu", "gelu_pytorch_tanh")
_QUANT_METHOD = "codegemma-serving"
"""Names our own quantised form; other readers refuse what they do not know."""
_LINEAR_ROPE = {"default", "linear"}


def gemma_config_from_hf(config: Mapping[str, Any]) -> GemmaConfig:
    """The model that a `config.json` describes.

    Raises:
      CheckpointError: for another architecture or a feature that this model does not have, by its name in the file.
    """
    match config.get("model_type"):
        case "gemma":
            return _gemma({**_GEMMA_DEFAULTS, **config})
        case "gemma3_text":
            return _gemma3({**_GEMMA3_DEFAULTS, **config})
        case "gemma3":
            if not isinstance(config.get("text_config"), Mapping):
                raise CheckpointError("model_type 'gemma3' without a text_config.")
            return _gemma3({**_GEMMA3_DEFAULTS, **config["text_config"]})
        case other:
            raise CheckpointError(f"model_type {other!r} is not supported; gemma, gemma3_text and gemma3 are.")


def gemma_config_to_hf(config: GemmaConfig) -> dict[str, Any]:
    """A `config.json` from which `gemma_config_from_hf` gives this model again."""
    sizes = {field: getattr(config, name) for name, field in _SIZE_FIELDS.items()}
    common = {
        **sizes,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if config.rope_scale == 1 else {"rope_type": "linear", "factor": config.rope_scale},
        "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
    }
    if config.quantization is not None:
        common["quantization_config"] = _quantization_to_hf(config)
    if not config.qk_norm:
        return {"model_type": "gemma", "architectures": ["GemmaForCausalLM"], **common}
    is_global = [config.window(layer) is None for layer in range(config.num_layers)]
    return {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        **common,
        "rope_local_base_freq": config.local_rope_theta,
        "query_pre_attn_scalar": _width(config.query_scale),
        "sliding_window": config.sliding_window,
        "layer_types": ["full_attention" if whole else "sliding_attention" for whole in is_global],
    }


def _width(query_scale: float) -> int | float:
    """Whose root a scale is 1 over, which is not exact. transformers takes integers only."""
    width = round(query_scale**-2, 6)
    return int(width) if width.is_integer() else width


def _gemma(config: Mapping[str, Any]) -> GemmaConfig:
    _refuse_unsupported(config)
    theta, scale = _rope(config, config.get("rope_parameters") or {}, config["rope_theta"])
    return GemmaConfig(**_sizes(config), rope_theta=theta, rope_scale=scale, query_scale=config["head_dim"] ** -0.5)


def _gemma3(config: Mapping[str, Any]) -> GemmaConfig:
    _refuse_unsupported(config)
    # transformers 5 has RoPE parameters per kind of layer; before, two bases and a rope_scaling for the global one.
    rope = config.get("rope_parameters") or {}
    theta, scale = _rope(config, rope.get("full_attention") or {}, config["rope_theta"])
    local_theta, local_scale = _rope({}, rope.get("sliding_attention") or {}, config["rope_local_base_freq"])
    if local_scale != 1:
        raise CheckpointError(f"rope_parameters.sliding_attention.factor={local_scale} is not supported; 1 is.")
    window, global_every = _windows(config)
    return GemmaConfig(
        **_sizes(config),
        rope_theta=theta,
        rope_scale=scale,
        query_scale=positive("query_pre_attn_scalar", config["query_pre_attn_scalar"]) ** -0.5,
        qk_norm=True,
        post_norms=True,
        sliding_window=window,
        global_every=global_every,
        local_rope_theta=local_theta,
    )


def _sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    at_most = {"num_layers": MAX_LAYERS}
    return {
        **{name: size(field, config[field], at_most.get(name, MAX_SIZE)) for name, field in _SIZE_FIELDS.items()},
        "rms_norm_eps": positive("rms_norm_eps", config["rms_norm_eps"]),
        **_quantization(config),
    }


def _quantization_to_hf(config: GemmaConfig) -> dict[str, str]:
    assert config.quantization is not None
    embedding = config.embedding_quantization
    written = {"quant_method": _QUANT_METHOD, "format": config.quantization.value}
    return (
        written if embedding is config.quantization.embedding else written | {"embedding": embedding or NOT_QUANTISED}
    )


def _quantization(config: Mapping[str, Any]) -> dict[str, Quantization | None]:
    found = config.get("quantization_config") or config.get("quantization")  # the latter alone is of early MLX
    if not found:
        return {}
    method = found.get("quant_method", "MLX") if isinstance(found, Mapping) else None
    refused = CheckpointError(
        f"quantization_config={str(found)[:200]}: weights quantised by {method} are not supported. Take the checkpoint "
        "that is not quantised; `codegemma convert --quantize` or `quantize` in the configuration quantises it."
    )
    if not isinstance(found, Mapping) or method != _QUANT_METHOD:
        raise refused
    try:
        quantization = Quantization(str(found.get("format")))
        embedding = found.get("embedding", quantization.embedding)
        return {
            "quantization": quantization,
            "embedding_quantization": None if embedding == NOT_QUANTISED else Quantization(embedding),
        }
    except ValueError:
        raise refused from None


def _rope(config: Mapping[str, Any], parameters: Mapping[str, Any], theta: float) -> tuple[float, float]:
    """Base and position divisor: new-style `parameters` before the old `rope_theta` and `rope_scaling`."""
    scaling = {**(config.get("rope_scaling") or {}), **parameters}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in _LINEAR_ROPE:
        raise CheckpointError(f"rope_type {kind!r} is not supported; {' and '.join(sorted(_LINEAR_ROPE))} are.")
    factor = positive("rope_scaling.factor", scaling.get("factor", 1.0)) if kind == "linear" else 1.0
    return positive("rope_theta", scaling.get("rope_theta", theta)), factor


def _windows(config: Mapping[str, Any]) -> tuple[int | None, int]:
    """The sliding window, and every how many layers one is global."""
    kinds: Sequence[str] | None = config.get("layer_types")
    if kinds is None:
        every = size("sliding_window_pattern", config["sliding_window_pattern"])
        return size("sliding_window", config["sliding_window"]), every
    is_global = [kind == "full_attention" for kind in kinds]
    if all(is_global):
        return None, 1
    every = is_global.index(True) + 1 if any(is_global) else len(kinds) + 1
    regular = [(layer + 1) % every == 0 for layer in range(config["num_hidden_layers"])]
    if is_global != regular or not set(kinds) <= {"full_attention", "sliding_attention"}:
        raise CheckpointError(f"layer_types {list(kinds)} is not supported; full attention at every n-th layer is.")
    return size("sliding_window", config["sliding_window"]), every


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    unsupported = {
        "attn_logit_softcapping": config.get("attn_logit_softcapping"),
        "final_logit_softcapping": config.get("final_logit_softcapping"),
        "use_bidirectional_attention": config.get("use_bidirectional_attention"),
        "attention_bias": config.get("attention_bias"),
        "tie_word_embeddings": None if config.get("tie_word_embeddings", True) else "false",
    }
    for field, value in unsupported.items():
        if value:
            raise CheckpointError(f"{field}={value} is not supported.")
    activation = config.get("hidden_activation") or config.get("hidden_act")
    if activation not in _GELU:
        raise CheckpointError(f"hidden_activation={activation!r} is not supported; gelu_pytorch_tanh is.")
