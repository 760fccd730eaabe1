"""Executables that compile at once, one that must not be compiled, and one that harms who reads it."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.stages import Compiled


def compiled(factor: int = 2) -> dict[str, Compiled]:
    return {"times": jax.jit(lambda x: factor * x).lower(jnp.ones(3)).compile()}


def unwanted() -> dict[str, Compiled]:
    raise AssertionError("compiled again")


class Exploit:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (Path(os.environ["EXPLOITED"]),)
