"""GGUF files of llama.cpp, architectures `gemma` and `gemma3`.

Norm weights are stored as 1 + w there. Names and keys: gguf-py/gguf/constants.py of
https://github.com/ggml-org/llama.cpp.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.binding import bind
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.gguf_header import read_gguf_header
from sharding.checkpoint.quantised import QuantisedSource
from sharding.checkpoint.source import Encoding, StoredTensor, TensorSource
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
_EMBEDDING = "token_embd.weight"
_GEMMA3_27B_LAYERS = 62


def read_gguf(file: Path) -> tuple[GemmaConfig, dict[str, TensorSource | QuantisedSource]]:
    """The model in a file: its configuration and its parameters by path.

    Raises:
      CheckpointError: a tensor is missing, superfluous, wrongly shaped, truncated or not understood.
    """
    header = read_gguf_header(file)
    embedding = header.tensors.get(_EMBEDDING)
    if embedding is None:
        raise CheckpointError(f"{file}: tensor {_EMBEDDING} (parameter embedder.weight) is missing.")
    try:
        config = gemma_config_from_gguf(header.metadata, vocab_size=embedding.shape[0])
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    stored = {name: _without_one(tensor) if "norm" in name else tensor for name, tensor in header.tensors.items()}
    return config, bind(config, stored, _stored_name, where=str(file))


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
        "num_layers": keys.size("block_count"),
        "num_heads": keys.size("attention.head_count"),
        "num_kv_heads": keys.size("attention.head_count_kv"),
        "head_dim": keys.size("attention.key_length"),
        "max_context": keys.size("context_length"),
        # Stored as float32; the shortest decimal that gives it (1e-6) is what was meant.
        "rms_norm_eps": float(str(np.float32(keys.get("attention.layer_norm_rms_epsilon")))),
        "rope_scale": keys.rope_scale(),
    }
    if architecture == "gemma":
        theta = float(keys.get("rope.freq_base", 10_000.0))
        return GemmaConfig(**sizes, rope_theta=theta, query_scale=sizes["head_dim"] ** -0.5)
    # llama.cpp knows Gemma 3 27B, whose queries are scaled by the width per head, by its layers, and so do we.
    is_27b = sizes["num_layers"] == _GEMMA3_27B_LAYERS
    scaled_by = sizes["embed_dim"] / sizes["num_heads"] if is_27b else sizes["head_dim"]
    return GemmaConfig(
        **sizes,
        rope_theta=float(keys.get("rope.freq_base", 1_000_000.0)),
        query_scale=scaled_by**-0.5,
        qk_norm=True,
        post_norms=True,
        sliding_window=keys.size("attention.sliding_window"),
        global_every=keys.size("attention.sliding_window_pattern", 6),
        local_rope_theta=float(keys.get("rope.freq_base_swa", 10_000.0)),
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

    def size(self, key: str, default: int | None = None) -> int:
        value = self.get(key, default)
        if not isinstance(value, int) or value < 1:
            raise CheckpointError(f"{self._architecture}.{key}={value!r} is not a positive integer.")
        return value

    def refuse(self, key: str) -> None:
        value = self.get(key, 0)
        if value:
            raise CheckpointError(f"{self._architecture}.{key}={value} is not supported.")

    def rope_scale(self) -> float:
        kind = self.get("rope.scaling.type", "none")
        if kind not in ("none", "linear"):
            raise CheckpointError(f"{self._architecture}.rope.scaling.type={kind!r} is not supported; linear is.")
        return float(self.get("rope.scaling.factor", 1.0)) if kind == "linear" else 1.0


def _without_one(norm: StoredTensor) -> StoredTensor:
    stored = norm.encoding

    def decode(raw: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        return np.asarray(stored.decode(raw) - 1)

    return replace(norm, encoding=Encoding(stored.name, stored.block, stored.block_bytes, decode))


def _stored_name(path: str) -> str:
    match path.split(".", 2):
        case ["layers", layer, parameter]:
            return f"blk.{layer}.{_LAYER_NAMES[parameter]}.weight"
        case ["embedder", "weight"]:
            return _EMBEDDING
        case _:
            return "output_norm.weight"
