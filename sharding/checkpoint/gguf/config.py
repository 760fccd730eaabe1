"""GemmaConfig from the metadata of a GGUF, architectures `gemma` and `gemma3`.

Keys: gguf-py/gguf/constants.py of https://github.com/ggml-org/llama.cpp. What they mean where some are left out:
`load_hparams` in src/llama-model.cpp there.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.fields import MAX_LAYERS, MAX_SIZE, positive, size
from sharding.config import GemmaConfig

_GEMMA3_27B_LAYERS = 62


def gemma_config_from_gguf(metadata: Mapping[str, Any], vocab_size: int) -> GemmaConfig:
    """The model that a GGUF's metadata describe.

    Raises:
      CheckpointError: for another architecture, a missing key, or a feature that this model does not have.
    """
    architecture = metadata.get("general.architecture")
    if architecture not in ("gemma", "gemma3"):
        raise CheckpointError(f"general.architecture {architecture!r} is not supported; gemma and gemma3 are.")
    keys = _Keys(metadata, architecture)
    keys.refuse("attn_logit_softcapping")
    keys.refuse("final_logit_softcapping")
    sizes: dict[str, Any] = {
        "vocab_size": vocab_size,
        "embed_dim": keys.size("embedding_length"),
        "mlp_dim": keys.size("feed_forward_length"),
        "num_layers": keys.size("block_count", at_most=MAX_LAYERS),
        "num_heads": keys.size("attention.head_count"),
        "num_kv_heads": keys.size("attention.head_count_kv"),
        "head_dim": keys.size("attention.key_length"),
        "max_context": keys.size("context_length"),
        # Stored as float32; the shortest decimal that gives it (1e-6) is what was meant.
        "rms_norm_eps": float(str(np.float32(keys.positive("attention.layer_norm_rms_epsilon")))),
        "rope_scale": keys.rope_scale(),
    }
    if architecture == "gemma":
        theta = keys.positive("rope.freq_base", 10_000.0)
        return GemmaConfig(**sizes, rope_theta=theta, query_scale=sizes["head_dim"] ** -0.5)
    # llama.cpp knows Gemma 3 27B, whose queries are scaled by the width per head, by its layers, and so do we.
    is_27b = sizes["num_layers"] == _GEMMA3_27B_LAYERS
    scaled_by = sizes["embed_dim"] / sizes["num_heads"] if is_27b else sizes["head_dim"]
    return GemmaConfig(
        **sizes,
        rope_theta=keys.positive("rope.freq_base", 1_000_000.0),
        query_scale=scaled_by**-0.5,
        qk_norm=True,
        post_norms=True,
        sliding_window=keys.size("attention.sliding_window"),
        global_every=keys.size("attention.sliding_window_pattern", 6),
        local_rope_theta=keys.positive("rope.freq_base_swa", 10_000.0),
    )


class _Keys:
    """The metadata of one architecture, whose keys begin with its name."""

    def __init__(self, metadata: Mapping[str, Any], architecture: str) -> None:
        self._metadata = metadata
        self._architecture = architecture

    def get(self, key: str, default: Any = None) -> Any:
        value = self._metadata.get(f"{self._architecture}.{key}", default)
        if value is None:
            raise CheckpointError(f"key {self._architecture}.{key} is missing.")
        return value

    def size(self, key: str, default: int | None = None, at_most: int = MAX_SIZE) -> int:
        return size(f"{self._architecture}.{key}", self.get(key, default), at_most)

    def positive(self, key: str, default: float | None = None) -> float:
        return positive(f"{self._architecture}.{key}", self.get(key, default))

    def refuse(self, key: str) -> None:
        value = self.get(key, 0)
        if value:
            raise CheckpointError(f"{self._architecture}.{key}={value} is not supported.")

    def rope_scale(self) -> float:
        """By what positions are divided: where no type is named, llama.cpp takes it for linear, and 0 for 1."""
        kind = self.get("rope.scaling.type", "linear")
        if kind not in ("none", "linear"):
            raise CheckpointError(f"{self._architecture}.rope.scaling.type={kind!r} is not supported; linear is.")
        named = f"{self._architecture}.rope.scaling.factor" in self._metadata
        key = "rope.scaling.factor" if named else "rope.scale_linear"  # of older files
        return 1.0 if kind == "none" or self.get(key, 0) == 0 else self.positive(key)
