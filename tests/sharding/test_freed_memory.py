"""What a step on a CPU frees is there for the next one. In a process of its own: memory is the whole process's."""

import ctypes
import subprocess
import sys

import pytest

SCRIPT = """
import resource

import jax
import jax.numpy as jnp
from jax import lax

from sharding.mesh import use_devices

use_devices("cpu")


@jax.jit
def step(x):
    large = lax.optimization_barrier(jnp.broadcast_to(x, (32, 1 << 20)) + 1)  # 128 MiB
    return large.sum()


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(jnp.ones(1 << 20)).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


faults()
print(min(faults() for _ in range(20)))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_step_takes_no_memory_anew() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, check=True, text=True, timeout=120)
    assert int(result.stdout) < (128 << 20) // 4096 // 10, "page faults"
