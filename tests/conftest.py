"""Test-wide setup: eight CPU devices, so that tensor parallelism is tested anywhere."""

import atexit
import os
import shutil
import tempfile

# Read once, when jax is first imported.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # A program that several tests need is compiled once, whichever process of the run they are in.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="codegemma-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

from collections.abc import Iterator

import pytest

from sharding.freed_memory import give_back_freed_memory


@pytest.fixture(scope="module", autouse=True)
def _freed_memory_given_back() -> Iterator[None]:
    """A module compiles hundreds of programs; what the compiler frees would pile up to gigabytes in each process."""
    yield
    give_back_freed_memory()
