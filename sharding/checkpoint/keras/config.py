"""GemmaConfig from the `config.json` of a KerasHub (earlier: KerasNLP) preset.

Fields: https://github.com/keras-team/keras-hub, `keras_hub/src/models/gemma/gemma_backbone.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import MAX_LAYERS, MAX_SIZE, positive, size
from sharding.checkpoint.json_file import read_json
from sharding.config import GemmaConfig

CONFIG_FILE = "config.json"
_BACKBONE = "GemmaBackbone"
_UNSUPPORTED = (
    "use_post_ffw_norm",
    "use_post_attention_norm",
    "final_logit_soft_cap",
    "attention_logit_soft_cap",
    "use_sliding_window_attention",
)
"""What Gemma 2 has besides, under the same name."""


def keras_config(directory: Path) -> GemmaConfig:
    """The model that a `config.json` describes.

    Raises:
      CheckpointError: it is missing, or describes no supported model.
    """
    file = directory / CONFIG_FILE
    described = read_json(file)
    kind, config = described.get("class_name"), described.get("config")
    if kind != _BACKBONE or not isinstance(config, dict):
        raise CheckpointError(
            f"{file}: class_name={str(kind)[:40]!r} is not supported; {_BACKBONE} and its config are."
        )
    try:
        return _gemma(config)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error


def _gemma(config: Mapping[str, Any]) -> GemmaConfig:
    for field in _UNSUPPORTED:
        if config.get(field):
            raise CheckpointError(f"{field}={str(config[field])[:40]} is not supported.")

    def field_size(name: str, at_most: int = MAX_SIZE) -> int:
        return size(name, config.get(name), at_most)

    gate_and_up = field_size("intermediate_dim")
    if gate_and_up % 2:
        raise CheckpointError(f"intermediate_dim={gate_and_up} is odd; it counts the gate and the up projection.")
    width, heads, head = field_size("hidden_dim"), field_size("num_query_heads"), field_size("head_dim")
    scaled_by = head if config.get("query_head_dim_normalize", True) else width // heads
    return GemmaConfig(
        vocab_size=field_size("vocabulary_size"),
        embed_dim=width,
        mlp_dim=gate_and_up // 2,
        num_layers=field_size("num_layers", MAX_LAYERS),
        num_heads=heads,
        num_kv_heads=field_size("num_key_value_heads"),
        head_dim=head,
        rms_norm_eps=positive("layer_norm_epsilon", config.get("layer_norm_epsilon", 1e-6)),
        query_scale=positive("hidden_dim / num_query_heads", scaled_by) ** -0.5,
    )
