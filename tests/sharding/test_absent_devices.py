"""Steps for TPU chips that are not there, where libtpu is installed: its compiler is the real one.

`make tpu-check` runs them; `make test` has no libtpu.
"""

import json
import pickle
import re
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from sharding.attention.protocol import Ragged
from sharding.attention.reference import ReferenceAttention
from sharding.attention.tpu import TokamaxAttention
from sharding.batch import Bucket
from sharding.config import CODEGEMMA_2B
from sharding.executables import ExecutableWriter
from sharding.mesh import make_mesh
from sharding.steps import compile_steps
from tests.sharding.small_models import LIMITS

pytest.importorskip("libtpu")

from sharding.absent_devices import tpu_v5e_devices


@pytest.mark.parametrize(
    ("slice_shape", "hosts", "chips"), [("1x1", 1, 1), ("2x2", 1, 4), ("2x4", 1, 8), ("2x4", 2, 8)]
)
def test_a_slice_has_its_chips_and_hosts(slice_shape: str, hosts: int, chips: int) -> None:
    devices = tpu_v5e_devices(slice_shape, hosts)
    assert {device.device_kind for device in devices} == {"TPU v5 lite"}
    assert len(devices) == chips
    assert len({device.process_index for device in devices}) == hosts


@pytest.mark.parametrize(("tokens", "kernels"), [(8, 1), (128, 2)], ids=["decode", "mixed"])
def test_a_step_has_no_kernel_that_never_has_rows(tokens: int, kernels: int) -> None:
    mesh = make_mesh(1, tpu_v5e_devices("1x1", 1))
    attention = TokamaxAttention()
    cache = attention.cache_shape(64, 32, 1, 256, jnp.bfloat16)
    shapes = [(tokens, 8, 256), (tokens, 1, 256), (tokens, 1, 256), cache]
    heads = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
    rows: Any = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in [(8, 8), (8,), (9,)]]
    ragged = Ragged(*rows)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        lowered = (
            jax.jit(partial(attention, scale=1.0, window=None)).trace(*heads, ragged).lower(lowering_platforms=("tpu",))
        )
    names = re.findall(r'kernel_name = "(\w[^"]*)"', lowered.as_text())
    assert len(names) == 2 * kernels, names  # each has one that plans its work


def test_a_file_for_tpus_has_every_program_and_what_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "file"
    limits = replace(LIMITS, page_size=32, num_pages=64, max_rows=8, max_step_tokens=16, max_context=256)
    config = replace(CODEGEMMA_2B, num_layers=1, vocab_size=2048, mlp_dim=2048)
    mesh = make_mesh(1, tpu_v5e_devices("1x1", 1))
    buckets = [Bucket(tokens, 8, limits.pages_per_sequence) for tokens in (8, 16)]
    attention = ReferenceAttention()  # kernels take most of the time to compile, and are code like any other
    compile_steps(config, mesh, jnp.bfloat16, limits, attention, buckets, ExecutableWriter(path))
    signed = path.read_bytes()[32:]
    end = 8 + int.from_bytes(signed[:8])
    depends_on = json.loads(signed[8:end])["depends_on"]
    assert {"model", "limits", "code", "compiler", "devices", "jax", "libtpu", "tokamax"} <= depends_on.keys()
    assert not {"processors", "instructions", "JAX_PLATFORMS"} & depends_on.keys()
    programs = pickle.loads(signed[end:])
    assert set(programs) == {*buckets, "sampler", "opener"}
    for compressed, arguments, _ in programs.values():
        assert len(zlib.decompress(compressed)) > 1 << 16
        assert arguments.num_leaves > 0
