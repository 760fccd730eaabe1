"""Small Gemmas of every kind, runners for them, and a dense model in NumPy to compare with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from msgspec.structs import replace as replace_fields

from sharding.batch import Bucket
from sharding.config import GemmaConfig
from sharding.gemma import abstract_parameters, random_parameters
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.step import Limits, Opening, Row, SamplingParams, Token
from sharding.steps import compile_steps

MQA = GemmaConfig(
    vocab_size=128,
    embed_dim=64,
    mlp_dim=128,
    num_layers=2,
    num_heads=8,
    num_kv_heads=1,
    head_dim=256,
    query_scale=256**-0.5,
)
"""Like CodeGemma 2B."""
MHA = replace(MQA, num_heads=16, num_kv_heads=16)
"""Like CodeGemma 7B."""
LOCAL = replace(
    MQA,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    query_scale=32**-0.5,
    rope_theta=1e6,
    rope_scale=8.0,
    qk_norm=True,
    post_norms=True,
    sliding_window=8,
    global_every=2,
)
"""Like Gemma 3: grouped queries, one layer with a window, one without."""

LIMITS = Limits(page_size=8, num_pages=32, max_rows=4, max_step_tokens=32, max_context=64)
MIXED = tuple(Bucket(tokens, LIMITS.max_rows, LIMITS.pages_per_sequence) for tokens in (16, 32))
"""The shapes of its mixed steps: all that a test of `logits` or of targets needs, and soon compiled."""
GREEDY = SamplingParams()


@cache
def host_parameters(config: GemmaConfig) -> dict[str, np.ndarray]:
    parameters = random_parameters(config, make_mesh(1), jnp.float32)
    return {path: np.asarray(value) for path, value in parameters.items()}


@cache
def make_runner(
    config: GemmaConfig, tensor_parallel: int = 1, limits: Limits = LIMITS, buckets: tuple[Bucket, ...] | None = None
) -> ModelRunner:
    """A compiled runner; tests share it, so each writes every page it reads. A test of few shapes names them."""
    steps = compile_steps(config, make_mesh(tensor_parallel), jnp.float32, limits, buckets=buckets)
    return ModelRunner(sharded_parameters(config, tensor_parallel), steps)


def sharded_parameters(config: GemmaConfig, tensor_parallel: int) -> dict[str, jax.Array]:
    specs: dict[str, Any] = abstract_parameters(config, make_mesh(tensor_parallel), jnp.float32)
    return {path: jax.device_put(host_parameters(config)[path], spec.sharding) for path, spec in specs.items()}


def row(token_ids: Sequence[int], start: int, pages: Sequence[int], sampling: SamplingParams | None = GREEDY) -> Row:
    """A row that says everything of its sequence, and draws one token unless `sampling` is None."""
    return Row(
        slot=0,
        start=start,
        token_ids=token_ids,
        draws=0 if sampling is None else 1,
        pages=pages,
        opening=Opening(sampling=sampling or GREEDY),
    )


def in_slots(rows: Sequence[Row]) -> list[Row]:
    """The rows of one step, each in a slot of its own."""
    return [replace_fields(each, slot=slot) for slot, each in enumerate(rows)]


def step(runner: ModelRunner, rows: Sequence[Row]) -> list[Token | None]:
    """Runs one step: a token for each row that draws one, None for the others."""
    runner.launch(in_slots(rows))
    return [tokens[0] if tokens else None for tokens in runner.land()]


def dense_logits(config: GemmaConfig, parameters: Mapping[str, np.ndarray], token_ids: Sequence[int]) -> np.ndarray:
    """Gemma over one whole sequence in float64, written for plainness: [S] -> [S, V]."""
    p = {path: value.astype(np.float64) for path, value in parameters.items()}
    positions = np.arange(len(token_ids))
    x = p["embedder.weight"][np.asarray(token_ids)] * float(np.float32(config.embed_dim**0.5))
    for index in range(config.num_layers):
        layer = {path.removeprefix(f"layers.{index}."): value for path, value in p.items()}
        window = config.window(index)
        y = _dense_attention(config, layer, _norm(config, x, layer["pre_attention_norm"]), positions, window)
        x = x + (_norm(config, y, layer["post_attention_norm"]) if config.post_norms else y)
        y = _norm(config, x, layer["pre_mlp_norm"])
        y = (_gelu(y @ layer["mlp.gate"].T) * (y @ layer["mlp.up"].T)) @ layer["mlp.down"].T
        x = x + (_norm(config, y, layer["post_mlp_norm"]) if config.post_norms else y)
    return _norm(config, x, p["final_norm"]) @ p["embedder.weight"].T


def _dense_attention(
    config: GemmaConfig, layer: dict[str, np.ndarray], x: np.ndarray, positions: np.ndarray, window: int | None
) -> np.ndarray:
    q, k, v = (np.einsum("hde,se->hsd", layer[f"attention.{name}"], x) for name in "qkv")
    if config.qk_norm:
        q, k = _norm(config, q, layer["attention.q_norm"]), _norm(config, k, layer["attention.k_norm"])
    if window is None:
        q, k = (_rotate(y, positions / config.rope_scale, config.rope_theta) for y in (q, k))
    else:
        q, k = (_rotate(y, positions, config.local_rope_theta) for y in (q, k))
    out = dense_attention(q * config.query_scale, k, v, window)
    return np.asarray(np.einsum("end,nsd->se", layer["attention.o"], out))


def dense_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, window: int | None) -> np.ndarray:
    """Causal attention of the last queries of one sequence: q [N, Q, D], k and v [K, S, D] -> [N, Q, D]."""
    k, v = (np.repeat(y, len(q) // len(y), axis=0) for y in (k, v))
    newest = k.shape[1] - q.shape[1] + np.arange(q.shape[1])[:, None]
    keys = np.arange(k.shape[1])
    visible = (keys <= newest) & (keys > newest - (window or k.shape[1]))
    scores = np.where(visible, q @ k.swapaxes(1, 2), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True) @ v)


def _norm(config: GemmaConfig, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.sqrt((x * x).mean(-1, keepdims=True) + config.rms_norm_eps) * (1 + weight))


def _gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def _rotate(x: np.ndarray, positions: np.ndarray, theta: float) -> np.ndarray:
    pairs = x[..., : x.shape[-1] // 2] + 1j * x[..., x.shape[-1] // 2 :]
    frequencies = theta ** (-np.arange(pairs.shape[-1]) / pairs.shape[-1])
    turned = pairs * np.exp(1j * positions[:, None] * frequencies)
    return np.concatenate([turned.real, turned.imag], axis=-1)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest deviation, relative to the largest value expected."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())
