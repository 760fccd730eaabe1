"""Adapters of random numbers, and models with one of them merged in."""

from collections.abc import Mapping
from functools import cache
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sharding.adapters import Adapter
from sharding.config import GemmaConfig
from sharding.gemma import abstract_parameters
from sharding.mesh import make_mesh
from sharding.parameters import LORA_A, LORA_B, adapter_parameters
from tests.sharding.small_models import host_parameters


@cache
def model_parameters(config: GemmaConfig) -> dict[str, np.ndarray]:
    """Of a model whose layers decide what it draws: with the usual embeddings of tests it repeats the last token."""
    parameters = host_parameters(config)
    return parameters | {"embedder.weight": parameters["embedder.weight"] / 20}


def model_on(config: GemmaConfig, devices: int) -> dict[str, jax.Array]:
    """The same on so many devices."""
    specs: dict[str, Any] = abstract_parameters(config, make_mesh(devices), jnp.float32)
    return {path: jax.device_put(model_parameters(config)[path], spec.sharding) for path, spec in specs.items()}


def random_adapter(config: GemmaConfig, seed: int, rank: int, targets: str = "") -> Adapter:
    """One that changes a model by about as much as the model itself computes; of the paths with `targets` in them."""
    rng = np.random.default_rng([7, seed])
    weights = {}
    for path, parameter in adapter_parameters(config, 1, rank).items():
        if targets in path:
            is_a = path.endswith(LORA_A)
            shape = parameter.shape[1:] if is_a else (*parameter.shape[:-2], rank)
            scale = prod(shape[1:]) ** -0.5 if is_a else 0.5 * rank**-0.5
            weights[path] = (scale * rng.standard_normal(shape)).astype(np.float32)
    return Adapter(weights, version=f"{seed}")


def merged(parameters: Mapping[str, np.ndarray], adapter: Adapter) -> dict[str, np.ndarray]:
    """The model in which each W is W + B A."""
    whole = dict(parameters)
    for path, a in adapter.weights.items():
        if path.endswith(LORA_A):
            target = path.removesuffix(LORA_A)
            product = np.tensordot(adapter.weights[target + LORA_B].astype(np.float64), a.astype(np.float64), 1)
            whole[target] = (parameters[target] + product).astype(np.float32)
    return whole
