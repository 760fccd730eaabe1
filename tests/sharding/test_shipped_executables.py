"""Executables that another machine compiled: read if they fit and are signed, else the log says why they are not."""

import logging
import os
import pickle
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.stages import Compiled

from sharding.executables import ExecutableWriter, LocalStore, signing_key_path, why_not_taken
from sharding.executables.dependencies import dependencies
from sharding.mesh import make_mesh
from tests.sharding.small_executables import Exploit, compiled, unwanted


@pytest.fixture(autouse=True)
def _key_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    path = tmp_path / "model.executables"
    ExecutableWriter(path).get(make_mesh(1), {"model": "a", "limits": 8}, lambda: compiled(2))
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def factor_of(executables: dict[str, Compiled]) -> float:
    return float(executables["times"](jnp.ones(3))[0])


def read(
    kept: Path, shipped: Path, compile: Callable[[], dict[str, Compiled]], model: str = "a", limits: int = 8
) -> float:
    return factor_of(LocalStore(kept, shipped).get(make_mesh(1), {"model": model, "limits": limits}, compile))


def test_what_was_shipped_is_read_and_needs_no_cache(shipped: Path, kept: Path) -> None:
    assert read(kept, shipped, unwanted) == 2
    assert not kept.exists()


def test_what_is_read_can_be_told_from_what_is_not_without_loading_it(shipped: Path) -> None:
    made_of = {"model": "a", "limits": 8}
    assert why_not_taken(shipped, make_mesh(1), made_of) is None
    other = why_not_taken(shipped, make_mesh(1), made_of | {"limits": 9})
    assert other == f"{shipped} was compiled for something else: limits: 8 there, 9 here."
    shipped.write_bytes(shipped.read_bytes()[:-1])
    damaged = why_not_taken(shipped, make_mesh(1), made_of)
    assert damaged is not None and f"{shipped} is damaged, or was not signed with the key" in damaged
    signing_key_path().unlink()
    shipped.unlink()
    with pytest.raises(FileNotFoundError):
        why_not_taken(shipped, make_mesh(1), made_of)


def test_anybody_may_own_the_file_for_its_signature_tells_who_wrote_it(shipped: Path, kept: Path) -> None:
    shipped.chmod(0o666)
    shipped.parent.chmod(0o777)
    assert read(kept, shipped, unwanted) == 2


def test_what_was_shipped_goes_before_what_is_kept(shipped: Path, kept: Path) -> None:
    missing = shipped.with_name("missing")
    assert read(kept, missing, lambda: compiled(3)) == 3
    assert read(kept, missing, unwanted) == 3
    assert read(kept, shipped, unwanted) == 2


def test_what_does_not_fit_is_compiled_and_the_log_says_what_differs(
    shipped: Path, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read(kept, shipped, lambda: compiled(3), model="b", limits=16) == 3
    assert f"{shipped} was compiled for something else" in caplog.text
    assert "model: 'a' there, 'b' here; limits: 8 there, 16 here." in caplog.text
    assert read(kept, shipped, unwanted, model="b", limits=16) == 3  # kept


def test_for_another_number_of_processors_a_cpu_compiles_anew(
    shipped: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    processors = len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors + 1)))
    with caplog.at_level(logging.WARNING):
        assert read(kept, shipped, lambda: compiled(3)) == 3
    assert f"processors: {processors} there, {processors + 1} here" in caplog.text


def test_for_another_version_of_a_package_all_is_compiled_anew(
    shipped: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sharding.executables.dependencies as module

    others = {"jax": "0.0.1", "numpy": "0.0.1"}
    monkeypatch.setattr(module, "version", lambda name: others.get(name) or version(name))
    with caplog.at_level(logging.WARNING):
        assert read(kept, shipped, lambda: compiled(3)) == 3
    assert f"jax: {jax.__version__} there, 0.0.1 here" in caplog.text
    assert "numpy" not in caplog.text


@pytest.mark.parametrize("signature", [b"", bytes(32)])
def test_a_strangers_file_runs_nothing(
    signature: bytes,
    shipped: Path,
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("EXPLOITED", str(tmp_path / "exploited"))
    content = shipped.read_bytes()[32:]
    length = 8 + int.from_bytes(content[:8])
    shipped.write_bytes(signature + content[:length] + pickle.dumps(Exploit()))
    with caplog.at_level(logging.WARNING):
        assert read(kept, shipped, lambda: compiled(3)) == 3
    assert not (tmp_path / "exploited").exists()
    assert f"{shipped} is damaged, or was not signed with the key in {signing_key_path()}" in caplog.text


def test_without_the_key_of_the_machine_that_compiled_nothing_is_read(
    shipped: Path, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = signing_key_path().read_bytes()
    signing_key_path().unlink()
    with caplog.at_level(logging.WARNING):
        assert read(kept, shipped, lambda: compiled(3)) == 3
    assert "put the key of that machine there" in caplog.text
    signing_key_path().write_bytes(key)
    assert read(kept, shipped, unwanted) == 2


@pytest.mark.parametrize("position", [0, 40, 400, -100, -1])
def test_a_damaged_file_is_not_read(position: int, shipped: Path, kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(shipped.read_bytes())
    data[position] ^= 1
    shipped.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert read(kept, shipped, lambda: compiled(3)) == 3
    assert f"{shipped} is damaged" in caplog.text


def test_a_file_that_is_not_there_is_named(shipped: Path, kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    shipped.unlink()
    with caplog.at_level(logging.WARNING):
        assert read(kept, shipped, lambda: compiled(3)) == 3
    assert str(shipped) in caplog.text


def test_no_half_of_a_file_is_written(shipped: Path) -> None:
    def fails() -> dict[str, Compiled]:
        raise ValueError("does not compile")

    before = shipped.read_bytes()
    with pytest.raises(ValueError, match="does not compile"):
        ExecutableWriter(shipped).get(make_mesh(1), {}, fails)
    assert shipped.read_bytes() == before


def tpu_mesh(platform_version: str) -> Any:
    """As far as dependencies are told from a mesh of TPU chips."""
    client = SimpleNamespace(platform_version=platform_version)
    chips = [
        SimpleNamespace(
            platform="tpu", device_kind="TPU v5 lite", id=x, process_index=0, coords=[x, 0, 0], client=client
        )
        for x in range(4)
    ]
    return SimpleNamespace(devices=np.array(chips), shape={"tensor": 4})


def test_for_a_tpu_the_machine_that_compiles_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    here: Mesh = tpu_mesh("TFRT TPU v5 lite\nBuilt on Oct 22 2026")
    before = dependencies(here, {"model": "a"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(224)))
    monkeypatch.setenv("JAX_PLATFORMS", "tpu,cpu")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somewhere")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    there: Mesh = tpu_mesh("PJRT C API\nTFRT TPU v5 lite\nBuilt on Oct 22 2026")
    assert dependencies(there, {"model": "a"}) == before
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--xla_tpu_scoped_vmem_limit_kib=65536")
    assert dependencies(there, {"model": "a"}) != before
