"""Test-wide setup: eight CPU devices, so that tensor parallelism is tested anywhere."""

import os

# Read once, when jax is first imported.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
