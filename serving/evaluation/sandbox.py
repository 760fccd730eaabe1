"""Sandbox: runs an untrusted program, by bubblewrap, in namespaces of its own.

The program sees the system's read-only `/usr`, a `/tmp` in memory and nothing else: no network, no environment, no
home, no other process. Without bubblewrap nothing is run.

Limits: processor time, file size, processes and private memory of each process are limited by the kernel (`setrlimit`);
the memory of all processes together and the time by this process, which ends the sandbox with all that is in it. Memory
that is no process's own is refused (`seccomp.py`), but for the files in `/tmp`, whose size is limited.
"""

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from serving.evaluation.process_tree import memory_bytes
from serving.evaluation.seccomp import UnknownMachineError, seccomp_filter
from serving.evaluation.toolchains import Toolchain

PROGRAM = "/program"
"""Where the program's file is, inside."""
PASSED = "passed"
COMPILE_FAILED = 90
"""Exit status of a program that did not compile."""
_POLL_S = 0.1
_TAIL = 4096
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FILES = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
_ENVIRONMENT = (("PATH", "/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8"))
_FIRST_UID, _UIDS = 61184, 4096
"""User ids without an account: those that systemd assigns to services while they run."""
_INSTALL = (
    "Generated programs run in a sandbox only. Install bubblewrap 0.8 or newer (apt install bubblewrap), and allow "
    "user namespaces: in a container that takes root with CAP_SYS_ADMIN, or a runtime that permits them."
)


class SandboxError(Exception):
    """There is no sandbox here; the message says what to install."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use.

    Attributes:
      cpu_s: processor time of each of its processes.
      compile_s: more of it, and of the time, for a compiler.
      wall_s: time until all of it is ended.
      memory: bytes, of each process and of all together.
      disk: bytes in `/tmp`, which is in memory too.
      processes: threads count.
    """

    cpu_s: int = 5
    compile_s: int = 60
    wall_s: float = 15.0
    memory: int = 1 << 30
    disk: int = 256 << 20
    processes: int = 64


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
      how: `passed`, `failed`, `not compiled`, `timed out` or `out of memory`.
      detail: the last line that it wrote on standard error.
    """

    how: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether it ran to its end, without an error and within its limits."""
        return self.how == PASSED


@dataclass
class Sandbox:
    """Runs programs, each in a sandbox of its own.

    Attributes:
      limits: of each of them.
      bwrap: bubblewrap's command.
    """

    limits: Limits = field(default_factory=Limits)
    bwrap: str = field(default_factory=lambda: shutil.which("bwrap") or "")
    _used_uids: set[int] = field(default_factory=set, init=False)

    async def check(self, toolchain: Toolchain, program: str) -> None:
        """Runs `program`, which does nothing.

        Raises:
          SandboxError: bubblewrap is missing, the kernel does not let it work, or no filter is known for this machine.
        """
        if not self.bwrap:
            raise SandboxError(f"bwrap is not on the PATH. {_INSTALL}")
        try:
            seccomp_filter()
        except UnknownMachineError as error:
            raise SandboxError(str(error)) from None
        outcome = await self.run(program, toolchain)
        if not outcome.passed:
            raise SandboxError(f"bubblewrap does not work here: {outcome.detail or outcome.how}. {_INSTALL}")

    async def run(self, source: str, toolchain: Toolchain) -> Outcome:
        """Compiles, if that is needed, and runs a program.

        Args:
          source: in which `toolchain.end_mark` stands for a text that the program writes when its tests have passed.
          toolchain: of its language.
        """
        mark = secrets.token_hex(16)  # a program that exits early, with whatever status, has not passed
        source = source.replace(toolchain.end_mark, mark)
        limits = self.limits
        compile_s = limits.compile_s if toolchain.compile else 0
        with tempfile.TemporaryDirectory(prefix="codegemma-eval-") as folder:
            directory = Path(folder, "program")
            directory.mkdir()
            (directory / toolchain.file).write_text(source, encoding="utf-8", errors="replace")
            directory.chmod(0o755)
            (directory / toolchain.file).chmod(0o644)
            refused = Path(folder, "seccomp")
            refused.write_bytes(seccomp_filter())
            with refused.open("rb") as file:
                async with self._uid() as uid:
                    command = self._command(directory, toolchain, uid, limits.cpu_s + compile_s, file.fileno())
                    return await _watch(command, limits.wall_s + compile_s, limits.memory, mark, file.fileno())

    @asynccontextmanager
    async def _uid(self) -> AsyncIterator[int | None]:
        """For root, a user of the sandbox's own: the kernel does not limit the number of root's processes."""
        if os.geteuid() != 0:
            yield None
            return
        first = os.getpid() * 64
        uid = next(uid for n in range(_UIDS) if (uid := _FIRST_UID + (first + n) % _UIDS) not in self._used_uids)
        self._used_uids.add(uid)
        try:
            yield uid
        finally:
            self._used_uids.discard(uid)

    def _command(self, directory: Path, toolchain: Toolchain, uid: int | None, cpu_s: int, filter_fd: int) -> list[str]:
        limits = self.limits
        compiling = f"{toolchain.compile} >&2 || exit {COMPILE_FAILED}; " if toolchain.compile else ""
        script = f"{compiling}exec prlimit --cpu={limits.cpu_s} {toolchain.run}"
        return [
            *(self.bwrap, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-net", "--unshare-ipc"),
            *("--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox", "--cap-drop", "ALL"),
            *("--seccomp", str(filter_fd)),
            *(("--unshare-user", "--disable-userns", "--uid", "65534", "--gid", "65534") if uid is None else ()),
            *(() if uid is None else ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")),
            "--clearenv",
            *(part for name, value in (*_ENVIRONMENT, *toolchain.environment) for part in ("--setenv", name, value)),
            *("--ro-bind", "/usr", "/usr"),
            *_system_folders(),
            *("--perms", "1777", "--size", str(limits.disk), "--tmpfs", "/tmp"),
            *_bound(*_FILES, *toolchain.reads),
            # A shared mapping of /dev/zero has memory of its own; bound like this, no device of it can be opened.
            *("--proc", "/proc", "--dev", "/dev", "--ro-bind", "/dev/null", "/dev/zero", "--remount-ro", "/dev"),
            *("--ro-bind", str(directory), PROGRAM, "--remount-ro", "/", "--chdir", "/tmp", "--"),
            *(() if uid is None else ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")),
            *("prlimit", f"--cpu={cpu_s}", f"--nproc={limits.processes}", f"--data={limits.memory}"),
            *(f"--fsize={limits.disk}", "--nofile=64", "--core=0", "sh", "-c", script),
        ]  # fmt: skip


def _system_folders() -> list[str]:
    """What makes `/bin` and `/lib` what they are outside: links into `/usr`, or folders of older systems."""
    arguments: list[str] = []
    for path in (Path("/", name) for name in _LINKS):
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return arguments


def _bound(*paths: str) -> Iterator[str]:
    """Binds what is there of these paths, in folders that anybody may pass: a home has others outside."""
    for path in paths:
        for parent in reversed(Path(path).parents[:-1]):
            yield from ("--perms", "0755", "--dir", str(parent))
        yield from ("--ro-bind-try", path, path)


async def _watch(command: Sequence[str], wall_s: float, memory: int, mark: str, filter_fd: int) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={},
        start_new_session=True,
        pass_fds=(filter_fd,),
    )
    assert process.stdout and process.stderr
    oom_kills = _oom_kills()
    # No process that has left the others keeps a pipe open: with the first one the kernel ends all of its namespace.
    tails = asyncio.gather(_tail(process.stdout), _tail(process.stderr))
    how = ""
    try:
        async with asyncio.timeout(wall_s):
            while not tails.done():
                await asyncio.wait([tails], timeout=_POLL_S)
                if memory_bytes(process.pid) > memory:
                    how = "out of memory"
                    break
    except TimeoutError:
        how = "timed out"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        out, err = await tails
    if how:
        return Outcome(how)
    lines = err.strip().splitlines() or [""]
    detail = lines[-1][:200]
    if process.returncode == COMPILE_FAILED:
        return Outcome("not compiled", next((line for line in lines if "error" in line), lines[-1])[:200])
    killed = process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    if killed and _oom_kills() > oom_kills:
        return Outcome("out of memory", detail)
    if killed or process.returncode in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return Outcome("timed out", detail)
    return Outcome(PASSED if process.returncode == 0 and out.rstrip().endswith(mark) else "failed", detail)


def _oom_kills() -> int:
    """How many processes of this machine the kernel has ended for want of memory; by SIGKILL, as those for time."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


async def _tail(stream: asyncio.StreamReader) -> str:
    """Reads all that comes and keeps the end."""
    kept = b""
    while piece := await stream.read(1 << 16):
        kept = (kept + piece)[-_TAIL:]
    return kept.decode("utf-8", "replace")
