"""One of two hosts, for test_executables.py: gets an executable over the devices of both, and says where from."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jax.stages import Compiled

from sharding.executables import LocalStore
from sharding.mesh import TENSOR, join_hosts, make_mesh, use_devices

coordinator, rank, directory = sys.argv[1:]
use_devices("cpu", cpu_devices=1)
join_hosts(coordinator, 2, int(rank))
mesh = make_mesh(2)
over_both, on_each = NamedSharding(mesh, PartitionSpec(TENSOR)), NamedSharding(mesh, PartitionSpec())
how = "read"


def compiled() -> dict[str, Compiled]:
    """The sum over both hosts."""
    global how
    how = "compiled"
    numbers = jax.ShapeDtypeStruct((2,), jnp.float32, sharding=over_both)
    return {"sum": jax.jit(jnp.sum, out_shardings=on_each).lower(numbers).compile()}


executables = LocalStore(Path(directory)).get(mesh, {}, compiled)
numbers = jax.make_array_from_callback((2,), over_both, lambda index: jnp.array([1.0, 2.0])[index])
print(f"{how}, sum {executables['sum'](numbers):.0f}")
