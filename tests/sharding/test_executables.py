"""LocalStore: what was compiled once is read from then on, as long as nothing that it depends on has changed."""

import hashlib
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from jax.stages import Compiled

from sharding.executables import LocalStore, signing_key_path
from sharding.mesh import make_mesh
from sharding.runner import ModelRunner
from sharding.steps import compile_steps
from tests.sharding.small_executables import Exploit, compiled, unwanted
from tests.sharding.small_models import LIMITS, LOCAL, in_slots, row, sharded_parameters, step

HOST = Path(__file__).parent / "executables_host.py"
FEW = replace(LIMITS, max_rows=2, max_step_tokens=16)


@pytest.fixture(autouse=True)
def _key_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


Get = Callable[..., dict[str, Compiled]]


@pytest.fixture
def get(tmp_path: Path) -> Get:
    """Gets executables from a store in the directory `kept`."""

    def from_store(
        compile: Callable[[], dict[str, Compiled]], model: str = "a", shipped: Path | None = None
    ) -> dict[str, Compiled]:
        return LocalStore(tmp_path / "kept", shipped).get(make_mesh(1), {"model": model}, compile)

    return from_store


def test_what_was_compiled_is_read_the_next_time(get: Get) -> None:
    get(compiled, "a")
    assert get(unwanted, "a")["times"](jnp.ones(3)).tolist() == [2, 2, 2]


def test_what_depends_on_something_else_is_compiled(get: Get) -> None:
    get(compiled, "a")
    assert get(lambda: compiled(3), "b")["times"](jnp.ones(3)).tolist() == [3, 3, 3]


@pytest.mark.parametrize("name", ["XLA_FLAGS_OF_A_TEST", "LIBTPU_INIT_ARGS", "JAX_OF_A_TEST"])
def test_another_environment_of_the_compiler_is_compiled_for(
    get: Get, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    get(compiled)
    monkeypatch.setenv(name, "1")
    assert get(lambda: compiled(3))["times"](jnp.ones(3)).tolist() == [3, 3, 3]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 8]) + data[middle + 8 :]


@pytest.mark.parametrize(
    "damaged",
    [lambda data: b"", lambda data: b"something else", lambda data: data[:-100], flipped],
    ids=["empty", "other", "cut", "flipped"],
)
def test_a_damaged_file_is_compiled_anew(
    get: Get, tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: Callable[[bytes], bytes]
) -> None:
    get(compiled)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(damaged(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert get(lambda: compiled(3))["times"](jnp.ones(3)).tolist() == [3, 3, 3]
    assert str(file) in caplog.text
    assert "times" in get(unwanted)


@pytest.mark.parametrize("signature", [b"", bytes(32), None], ids=["none", "zeros", "digest"])
def test_what_another_user_put_there_is_not_unpickled(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, signature: bytes | None
) -> None:
    monkeypatch.setenv("EXPLOITED", str(tmp_path / "exploited"))
    content = pickle.dumps(Exploit())
    pickle.loads(content)
    (tmp_path / "exploited").unlink()  # or this would test nothing
    get(compiled)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes((hashlib.sha256(content).digest() if signature is None else signature) + content)
    with caplog.at_level(logging.WARNING):
        get(compiled)
    assert not (tmp_path / "exploited").exists()
    assert f"{file} is damaged, or was not signed" in caplog.text


def test_what_was_signed_for_something_else_is_not_taken_for_it(get: Get, tmp_path: Path) -> None:
    get(compiled, "a")
    (first,) = (tmp_path / "kept").iterdir()
    get(compiled, "b")
    (second,) = set((tmp_path / "kept").iterdir()) - {first}
    first.replace(second)
    assert get(lambda: compiled(3), "b")["times"](jnp.ones(3)).tolist() == [3, 3, 3]


def test_what_others_may_write_is_compiled_anew_and_named(
    get: Get, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    get(compiled)
    (file,) = (tmp_path / "kept").iterdir()
    file.chmod(0o660)
    with caplog.at_level(logging.WARNING):
        get(compiled)
    assert f"{file} has the mode 0660" in caplog.text
    assert file.stat().st_mode & 0o777 == 0o600
    assert "times" in get(unwanted)


def test_files_directory_and_key_are_this_users_alone(get: Get, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o777)
    get(compiled)
    (file,) = (tmp_path / "kept").iterdir()
    key = signing_key_path()
    modes = [path.stat().st_mode & 0o777 for path in (file.parent, file, key.parent, key)]
    assert modes == [0o700, 0o600, 0o700, 0o600]


@pytest.mark.parametrize("spoil", [lambda key: key.chmod(0o666), lambda key: key.write_bytes(b""), Path.unlink])
def test_with_another_key_or_one_that_others_know_everything_is_compiled_anew(
    get: Get, spoil: Callable[[Path], object]
) -> None:
    get(compiled)
    spoil(signing_key_path())
    assert get(lambda: compiled(3))["times"](jnp.ones(3)).tolist() == [3, 3, 3]


def test_what_nobody_reads_for_a_month_is_removed_but_not_what_is_read(get: Get, tmp_path: Path) -> None:
    get(compiled, "read")
    get(compiled, "unused")
    for file in (tmp_path / "kept").iterdir():
        os.utime(file, (0, 0))
    get(unwanted, "read")
    get(compiled, "new")
    get(unwanted, "read")
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_what_another_host_removes_meanwhile_keeps_nothing_from_being_kept(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods share a volume: each of them removes what nobody reads, and has files there that last for a moment."""
    get(compiled, "a")
    (file,) = (tmp_path / "kept").iterdir()

    def other_host_goes_first() -> float:
        file.unlink(missing_ok=True)
        return 0.0

    with monkeypatch.context() as patch:
        patch.setattr("sharding.executables.store.time", SimpleNamespace(time=other_host_goes_first))
        get(compiled, "b")
    assert "times" in get(unwanted, "b")


def test_a_disk_that_takes_nothing_does_not_stop_the_start(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = LocalStore(tmp_path / "file" / "executables")
    with caplog.at_level(logging.WARNING):
        assert "times" in store.get(make_mesh(1), {}, compiled)
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("tensor_parallel", [1, 2])
def test_steps_that_were_read_are_the_compiled_ones(tmp_path: Path, tensor_parallel: int) -> None:
    def steps(progress: list[tuple[int, int]]) -> ModelRunner:
        mesh = make_mesh(tensor_parallel)
        compiled = compile_steps(
            LOCAL, mesh, jnp.float32, FEW, store=LocalStore(tmp_path), on_progress=lambda *done: progress.append(done)
        )
        return ModelRunner(sharded_parameters(LOCAL, tensor_parallel), compiled)

    first: list[tuple[int, int]] = []
    second: list[tuple[int, int]] = []
    runner, same = steps(first), steps(second)
    assert len(first) > len(second) == 1  # nothing to compile
    assert list(same.steps.by_bucket) == list(runner.steps.by_bucket)
    for bucket, forward in runner.steps.by_bucket.items():
        assert same.steps.by_bucket[bucket].input_shardings == forward.input_shardings
        memory = same.steps.by_bucket[bucket].memory_analysis()
        assert memory is not None and memory.alias_size_in_bytes > 0  # the cache is updated in place
    rows = [row([3, 1, 4], 0, [0]), row([1, 5], 0, [1])]
    np.testing.assert_array_equal(same.logits(in_slots(rows)), runner.logits(in_slots(rows)))
    assert step(same, rows) == step(runner, rows)
    assert same.recompilations == 0


def test_hosts_compile_together_unless_all_can_read_what_they_did(
    tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> None:
    directories = [tmp_path / "host 0", tmp_path / "host 1"]  # no disk in common, and so no key

    def start() -> list[str]:
        coordinator = f"127.0.0.1:{unused_tcp_port_factory()}"
        hosts = [
            subprocess.Popen(
                [sys.executable, HOST, coordinator, str(rank), directory],
                env=os.environ | {"XDG_DATA_HOME": str(tmp_path / f"data {rank}")},
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank, directory in enumerate(directories)
        ]
        try:
            outputs = [host.communicate(timeout=60)[0] for host in hosts]
        finally:
            for host in hosts:
                host.kill()
        assert [host.returncode for host in hosts] == [0, 0]
        return [output.splitlines()[-1] for output in outputs]

    for directory in directories:
        directory.mkdir()
    assert start() == ["compiled, sum 3", "compiled, sum 3"]
    assert start() == ["read, sum 3", "read, sum 3"]
    (file,) = directories[0].iterdir()
    before = file.read_bytes()
    file.unlink()
    assert start() == ["compiled, sum 3", "compiled, sum 3"]
    file.write_bytes(before)  # of another compilation than the other host's
    assert start() == ["compiled, sum 3", "compiled, sum 3"]
