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


GIVEN_BACK = """
import numpy as np
import psutil

from sharding.freed_memory import give_back_freed_memory, keep_freed_memory


def resident():
    return psutil.Process().memory_info().rss


keep_freed_memory()
kept = [np.ones(1 << 19) for _ in range(64)]  # 256 MiB
last = np.ones(1 << 10)  # above them: the heap does not end where they do
full = resident()
del kept
before = resident()
give_back_freed_memory()
print(full - before, before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_is_freed_is_kept_until_it_is_given_back() -> None:
    command = [sys.executable, "-c", GIVEN_BACK]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=120)
    freed_at_once, given_back = map(int, result.stdout.split())
    assert freed_at_once < 64 << 20
    assert given_back > 192 << 20
