"""The configuration of a NeMo checkpoint: `model_config.yaml` of NeMo 1, `context/model.yaml` of NeMo 2.

Fields: examples/nlp/language_modeling/conf/megatron_gpt_config.yaml and nemo/collections/llm/gpt/model/gemma.py of
NeMo, and megatron/core/transformer/transformer_config.py of Megatron-LM.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import MAX_LAYERS, positive, size
from sharding.checkpoint.nemo.yaml_mapping import as_mapping, read_mapping
from sharding.config import GemmaConfig

GEMMA_VOCABULARY = 256_000
"""Of every Gemma 1, for a checkpoint without a tokenizer that would tell. Stored embeddings may have more rows."""
_MEGATRON_EPSILON = 1e-5
"""What Megatron takes where the file names none."""

_GEMMA = {"kv_channels": 256, "seq_length": 8192, "layernorm_zero_centered_gamma": True, "normalization": "RMSNorm"}
_2B = _GEMMA | {
    "num_layers": 18,
    "hidden_size": 2048,
    "num_attention_heads": 8,
    "num_query_groups": 1,
    "ffn_hidden_size": 16_384,
}
_7B = _GEMMA | {
    "num_layers": 28,
    "hidden_size": 3072,
    "num_attention_heads": 16,
    "num_query_groups": 16,
    "ffn_hidden_size": 24_576,
}
_CLASSES: dict[str, dict[str, Any]] = {
    "GemmaConfig": _GEMMA,
    "GemmaConfig2B": _2B,
    "CodeGemmaConfig2B": _2B,
    "GemmaConfig7B": _7B,
    "CodeGemmaConfig7B": _7B,
}
"""NeMo 2's classes of configurations and what they set."""


@dataclass(frozen=True, slots=True)
class NemoConfig:
    """What a configuration says.

    Attributes:
      fields: of the model, for `gemma_config`.
      norms_plus_one: norms are stored as 1 + w.
      parallel: ranks of tensor and of pipeline parallelism that wrote the weights.
      tokenizer: the file of the tokenizer in the checkpoint; None: none is named.
    """

    fields: Mapping[str, Any]
    norms_plus_one: bool
    parallel: tuple[int, int]
    tokenizer: str | None

    def gemma_config(self, vocabulary: int | None) -> GemmaConfig:
        """The model; `vocabulary` is the tokenizer's, None: there is none.

        Raises:
          CheckpointError: a field is missing or has a value that no model has.
        """
        heads = size("num_attention_heads", self._get("num_attention_heads"))
        embed_dim = size("hidden_size", self._get("hidden_size"))
        head_dim = size("kv_channels", self._get("kv_channels", embed_dim // heads))
        kv_heads = size("num_query_groups", self._get("num_query_groups", heads))
        if heads % kv_heads:
            raise CheckpointError(f"num_attention_heads={heads} is no multiple of num_query_groups={kv_heads}.")
        context = self._get("max_position_embeddings", self._get("encoder_seq_length", self._get("seq_length", 8192)))
        return GemmaConfig(
            vocab_size=size("vocab_size", self._get("vocab_size", vocabulary or GEMMA_VOCABULARY)),
            embed_dim=embed_dim,
            mlp_dim=size("ffn_hidden_size", self._get("ffn_hidden_size")),
            num_layers=size("num_layers", self._get("num_layers"), MAX_LAYERS),
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            max_context=size("max_position_embeddings", context),
            rms_norm_eps=positive("layernorm_epsilon", self._get("layernorm_epsilon", _MEGATRON_EPSILON)),
            rope_theta=positive("rotary_base", self._get("rotary_base", 10_000.0)),
            query_scale=head_dim**-0.5,
        )

    def _get(self, name: str, default: Any = None) -> Any:
        value = self.fields.get(name)
        value = default if value is None else value
        if value is None:
            raise CheckpointError(f"{name} is missing.")
        if isinstance(value, str):  # YAML 1.1 takes 1e-06 for text
            try:
                return float(value)
            except ValueError:
                return value
        return value


def nemo1_config(text: bytes) -> NemoConfig:
    """From a `model_config.yaml`.

    Raises:
      CheckpointError: it describes no Gemma, or is no YAML.
    """
    fields = read_mapping(text)
    if not fields.get("apply_embedding_scaling"):
        raise CheckpointError("apply_embedding_scaling is not set: only Gemma models are supported.")
    _refuse_others(fields, "activation", ("geglu", "fast-geglu", "openai-geglu"))
    tokenizer = fields.get("tokenizer")
    model = tokenizer.get("model") if isinstance(tokenizer, dict) else None
    return NemoConfig(
        fields,
        norms_plus_one=not fields.get("layernorm_zero_centered_gamma"),
        parallel=_parallel(fields),
        tokenizer=model.removeprefix("nemo:").removeprefix("./") if isinstance(model, str) else None,
    )


def nemo2_config(text: bytes) -> NemoConfig:
    """From a `context/model.yaml`.

    Raises:
      CheckpointError: it describes no Gemma, or is no YAML.
    """
    given = as_mapping(read_mapping(text).get("config"), "config")
    name = _target(given).rpartition(".")[2]
    if name not in _CLASSES:
        raise CheckpointError(f"config is a {name or 'nothing'}; {', '.join(_CLASSES)} are supported.")
    fields = _CLASSES[name] | {field: value for field, value in given.items() if value is not None}
    activation = fields.get("activation_func")
    if isinstance(activation, dict) and "gelu" not in _target(activation):
        raise CheckpointError("activation_func is no GELU, which Gemma has.")
    _refuse_others(fields, "gated_linear_unit", (True,))
    zero_centered = bool(fields["layernorm_zero_centered_gamma"])
    return NemoConfig(fields, norms_plus_one=not zero_centered, parallel=_parallel(fields), tokenizer=None)


def _target(fields: Mapping[str, Any]) -> str:
    target = fields.get("_target_")
    return target[:200] if isinstance(target, str) else ""


def _parallel(fields: Mapping[str, Any]) -> tuple[int, int]:
    tensor, pipeline = (
        size(name, 1 if fields.get(name) is None else fields[name])
        for name in ("tensor_model_parallel_size", "pipeline_model_parallel_size")
    )
    _refuse_others(fields, "normalization", ("rmsnorm", "RMSNorm"))
    _refuse_others(fields, "position_embedding_type", ("rope",))
    _refuse_others(fields, "rotary_percentage", (1, 1.0))
    _refuse_others(fields, "seq_len_interpolation_factor", (1, 1.0))
    _refuse_others(fields, "share_embeddings_and_output_weights", (True,))
    _refuse_others(fields, "virtual_pipeline_model_parallel_size", (1,))
    for bias in ("bias", "add_bias_linear", "add_qkv_bias", "qk_layernorm", "num_moe_experts", "window_size"):
        _refuse_others(fields, bias, (False, 0))
    return tensor, pipeline


def _refuse_others(fields: Mapping[str, Any], name: str, supported: tuple[object, ...]) -> None:
    value = fields.get(name)
    if value is not None and value not in supported:
        shown = value if isinstance(value, str | int | float) else type(value).__name__
        raise CheckpointError(f"{name}={str(shown)[:40]!r} is not supported; {supported[0]} is.")
