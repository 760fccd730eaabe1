"""Generated programs are judged by whether they come to their end, and can do nothing else."""

import asyncio
import os
import socket
import time
from pathlib import Path

import psutil
import pytest

from serving.evaluation import sandbox as module
from serving.evaluation.sandbox import Limits, Sandbox, SandboxError
from serving.evaluation.task_sets.task_set import PYTHON_END
from serving.evaluation.toolchains import python


async def ran(program: str, **limits: float) -> tuple[str, str]:
    """How a Python program ends, and the last that it says."""
    outcome = await Sandbox(Limits(**limits)).run(program + PYTHON_END, python())  # type: ignore[arg-type]
    return outcome.how, outcome.detail


async def test_a_program_that_comes_to_its_end_passes_and_one_that_fails_does_not() -> None:
    assert await ran("import math\nassert math.gcd(4, 6) == 2") == ("passed", "")
    assert await ran("assert 1 == 2, 'wrong'") == ("failed", "AssertionError: wrong")
    assert (await ran("def f(:"))[0] == "failed"


@pytest.mark.parametrize("end", ["import sys; sys.exit(0)", "import os; os._exit(0)", "print = str; raise SystemExit"])
async def test_a_program_that_exits_before_its_tests_are_done_does_not_pass(end: str) -> None:
    assert (await ran(end))[0] == "failed"


async def test_a_program_may_redefine_print_and_write_much(tmp_path: Path) -> None:
    assert (await ran("print('x' * 1_000_000)\nprint = None"))[0] == "passed"


async def test_no_network_not_even_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert (await ran(f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"))[0] == "failed"
    how, detail = await ran("import socket; socket.create_connection(('192.0.2.1', 80), 5)")
    assert how == "failed"
    assert "Function not implemented" in detail


async def test_nothing_of_the_operators_home_files_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    secret = tmp_path / "secret"
    secret.write_text("1")
    secret.chmod(0o644)
    assert (await ran("import os; assert set(os.environ) <= {'PATH', 'HOME', 'LANG', 'PWD', 'LC_CTYPE'}"))[
        0
    ] == "passed"
    assert (await ran(f"import os; assert not os.path.exists({str(secret)!r})"))[0] == "passed"
    home = Path("/root") if os.geteuid() == 0 else Path.home()
    hidden = [each.name for each in home.iterdir() if each.name not in (".pyenv", ".local")]
    assert (await ran(f"import os; assert not [n for n in {hidden!r} if os.path.exists({str(home)!r} + '/' + n)]"))[
        0
    ] == ("passed")
    assert (await ran("import os; assert sorted(os.listdir('/etc')) == [] or 'passwd' not in os.listdir('/etc')"))[
        0
    ] == ("passed")


@pytest.mark.parametrize(
    "path", ["/usr/x", "/x", "/etc/x", "/dev/shm/x", "/program/x", "/proc/sys/kernel/core_pattern"]
)
async def test_nothing_is_written_but_in_tmp(path: str) -> None:
    how, detail = await ran(f"open({path!r}, 'w')")
    assert how == "failed"
    assert "Error" in detail
    assert (await ran("open('/tmp/x', 'w').write('1'); assert open('/tmp/x').read() == '1'"))[0] == "passed"


async def test_processes_are_limited() -> None:
    bomb = """
import os, time
forked = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
        forked += 1
except OSError:
    raise SystemExit(f"forked {forked}")
"""
    how, detail = await ran(bomb, processes=32)
    assert how == "failed"
    assert 1 <= int(detail.removeprefix("forked ")) < 32


async def test_memory_of_one_process_is_limited() -> None:
    assert await ran("x = bytearray(600 << 20)", memory=512 << 20) == ("failed", "MemoryError")


async def test_memory_of_all_processes_together_is_limited() -> None:
    program = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        x = b"x" * (200 << 20)
        time.sleep(60)
time.sleep(60)
"""
    assert (await ran(program, memory=400 << 20))[0] == "out of memory"


async def test_memory_of_page_tables_counts() -> None:
    """A page that is only read is the kernel's page of zeros, but each 2 MiB of addresses take a page for a table."""
    program = """
import mmap, time
x = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
x.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(x), 2 << 20):
    x[at]
time.sleep(60)
"""
    assert (await ran(program, memory=96 << 20, wall_s=30))[0] == "out of memory"


_MEMFDS = """
import os
for _ in range(4):
    file = os.memfd_create("x")
    for _ in range(30):
        os.write(file, b"x" * (1 << 20))
"""
_SYSTEM_V = """
import ctypes
c = ctypes.CDLL(None)
c.shmat.restype = ctypes.c_void_p
for _ in range(4):
    at = c.shmat(c.shmget(0, 30 << 20, 0o1600), None, 0)
    assert at != 2**64 - 1
    ctypes.memset(at, 1, 30 << 20)
    c.shmdt(ctypes.c_void_p(at))
"""
_SHARED = """
import mmap
kept = [mmap.mmap(-1, 30 << 20) for _ in range(4)]
for each in kept:
    each.write(b"x" * len(each))
    each.madvise(mmap.MADV_DONTNEED)
"""
_ZEROS = """
import mmap, os
file = os.open("/dev/zero", os.O_RDWR)
kept = [mmap.mmap(file, 30 << 20) for _ in range(4)]
for each in kept:
    each.write(b"x" * len(each))
    each.madvise(mmap.MADV_DONTNEED)
"""


@pytest.mark.parametrize("program", [_MEMFDS, _SYSTEM_V, _SHARED, _ZEROS])
async def test_there_is_no_memory_that_is_no_process_own(program: str) -> None:
    how, _ = await ran(program, memory=96 << 20)
    assert how == "failed"


async def test_what_sockets_hold_is_bounded_by_the_number_of_open_files() -> None:
    program = """
import socket
pair = socket.socketpair()
try:
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    raise SystemExit("a buffer grew")
except OSError:
    pass
try:
    socket.send_fds(pair[0], [b"x"], [pair[1].fileno()])
    raise SystemExit("one went through another")
except OSError:
    pass
kept = []
while True:
    kept.append(socket.socketpair())
    assert len(kept) < 32, "many"
"""
    how, detail = await ran(program)
    assert (how, detail) == ("failed", "OSError: [Errno 24] Too many open files")


async def test_calls_of_other_architectures_are_refused() -> None:
    """x32's `getpid`: a call by another number would pass the filter."""
    x32 = "import ctypes; c = ctypes.CDLL(None, use_errno=True); assert c.syscall(0x40000000 + 39) == -1"
    assert (await ran(x32))[0] == "passed"


@pytest.mark.parametrize(("counts", "how"), [([7, 8], "out of memory"), ([7, 7], "timed out")])
async def test_what_the_kernel_ends_for_memory_is_told_from_what_it_ends_for_time(
    counts: list[int], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_oom_kills", iter(counts).__next__)
    assert (await ran("import os; os.kill(os.getpid(), 9)"))[0] == how


def test_the_kernel_counts_whom_it_ended_for_memory() -> None:
    assert module._oom_kills() >= 0


async def test_disk_is_limited() -> None:
    fill = "for n in range(9):\n    open(f'/tmp/{n}', 'wb').write(b'x' * (4 << 20))"
    assert "No space left" in (await ran(fill, disk=16 << 20))[1]
    assert "File too large" in (await ran("open('/tmp/x', 'wb').write(b'x' * (32 << 20))", disk=16 << 20))[1]


async def test_time_is_limited_and_nothing_outlives_it() -> None:
    marker = f"{os.getpid()}.25"
    program = (
        f"import os, time\nif os.fork() == 0:\n    os.setsid()\n    os.execv('/bin/sleep', ['sleep', '{marker}'])\n"
    )
    assert (await ran(program + "time.sleep(60)", wall_s=1))[0] == "timed out"
    assert (await ran(program))[0] == "passed"
    assert not [each for each in psutil.process_iter(["cmdline"]) if marker in (each.info["cmdline"] or [])]
    assert (await ran("while True: pass", cpu_s=1))[0] == "timed out"


async def test_what_is_given_up_ends(sandbox: Sandbox) -> None:
    marker = f"{os.getpid()}.75"
    program = f"import os; os.execv('/bin/sleep', ['sleep', '{marker}'])"
    running = asyncio.create_task(sandbox.run(program, python()))

    def there() -> list[psutil.Process]:
        return [each for each in psutil.process_iter(["cmdline"]) if marker in (each.info["cmdline"] or [])]

    deadline = time.monotonic() + 60
    while not there() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not there()


async def test_no_other_process_is_seen_or_reached() -> None:
    seen = "import os; assert max(int(n) for n in os.listdir('/proc') if n.isdigit()) < 20"
    assert (await ran(seen))[0] == "passed"
    assert (await ran(f"import os; os.kill({os.getpid()}, 9)"))[0] == "failed"


async def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="apt install bubblewrap"):
        await Sandbox().check(python(), PYTHON_END)


async def test_a_bubblewrap_that_does_not_work_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SandboxError, match="No permissions to create new namespace"):
        await Sandbox(bwrap=str(broken)).check(python(), PYTHON_END)
