"""The adapters on devices: for each projection one array with the A, and one with the B, of all of them.

Which of them is computed with is data, as is what they hold: taking one in changes no shape and compiles nothing.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from sharding.parameters import LORA_A

type Stack = dict[str, jax.Array]
"""By path, as `sharding.parameters.adapter_parameters` names them: A [S, R, *in], B [*out, S, R]."""

type PlacedAdapter = dict[str, jax.Array]
"""What one adapter has of a stack, by path: A [R, *in], B [*out, R]."""


def new_stack(abstract: Mapping[str, jax.ShapeDtypeStruct]) -> Stack:
    """Returns one of adapters that add nothing."""
    return {path: jnp.zeros(array.shape, array.dtype, device=array.sharding) for path, array in abstract.items()}


def with_adapter(stack: Stack, index: jax.Array, adapter: PlacedAdapter) -> Stack:
    """Returns the stack with another adapter as number `index`, int32 [] from 0; to be compiled."""
    return {
        path: lax.dynamic_update_index_in_dim(array, adapter[path], index, _axis(path, array.ndim))
        for path, array in stack.items()
    }


def abstract_adapter(stack: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shape, dtype and sharding of a `PlacedAdapter`."""
    return {path: _one(array, _axis(path, len(array.shape))) for path, array in stack.items()}


def place_adapter(
    weights: Mapping[str, npt.NDArray[np.float32]], abstract: Mapping[str, jax.ShapeDtypeStruct]
) -> PlacedAdapter:
    """Brings an adapter to the devices as `abstract_adapter` describes it.

    Args:
      weights: `Adapter.weights`; what has a lower rank than R, and what is not there, is filled up with zeros.
      abstract: of the stack that it is for.
    """
    return {path: _placed(weights.get(path), array) for path, array in abstract.items()}


def _axis(path: str, axes: int) -> int:
    """That of S."""
    return 0 if path.endswith(LORA_A) else axes - 2


def _one(stacked: jax.ShapeDtypeStruct, axis: int) -> jax.ShapeDtypeStruct:
    sharding = stacked.sharding
    assert isinstance(sharding, NamedSharding)
    split = [*sharding.spec, *(None,) * (len(stacked.shape) - len(sharding.spec))]
    shape = stacked.shape[:axis] + stacked.shape[axis + 1 :]
    spec = PartitionSpec(*split[:axis], *split[axis + 1 :])
    return jax.ShapeDtypeStruct(shape, stacked.dtype, sharding=NamedSharding(sharding.mesh, spec))


def _placed(weight: npt.NDArray[np.float32] | None, abstract: jax.ShapeDtypeStruct) -> jax.Array:
    whole = np.zeros(abstract.shape, abstract.dtype)
    if weight is not None:
        whole[tuple(map(slice, weight.shape))] = weight
    array: jax.Array = jax.make_array_from_callback(abstract.shape, abstract.sharding, lambda index: whole[index])
    return array
