"""is_solved: whether a generated program runs to its end, in a process that can do little.

The process has no environment and an empty folder, little time and memory, writes no files and starts nothing; its
audit hook refuses sockets, other programs and files to write. That keeps a model's mistakes harmless; it is no sandbox
against a program that is meant to do harm.
"""

import asyncio
import os
import signal
import sys
import tempfile
from contextlib import suppress

CPU_S, WALL_S = 5, 15
MEMORY = 512 << 20
_GUARD = f"""
import os, resource, sys
for kind, value in (
    (resource.RLIMIT_CPU, {CPU_S}),
    (resource.RLIMIT_AS, {MEMORY}),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_NOFILE, 32),
    (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(kind, (value, value))
def refuse(event, arguments):
    harmful = event.startswith(("socket.", "subprocess.", "shutil.", "ctypes.", "os.", "signal."))
    listing = event in ("os.listdir", "os.scandir", "os.walk")
    mode, flags = arguments[1:3] if event == "open" else ("", 0)
    writing = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if (harmful and not listing) or writing:
        raise PermissionError(event)
program = compile(sys.stdin.read(), "program", "exec")
sys.addaudithook(refuse)
try:
    exec(program, {{"__name__": "__main__"}})
except SystemExit:
    sys.exit(1)  # before its tests
"""


async def is_solved(program: str) -> bool:
    """Whether a program, which tests itself, ends without an error and within its limits."""
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-B", "-c", _GUARD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(WALL_S):
                await process.communicate(program.encode("utf-8", errors="replace"))
        except TimeoutError:
            return False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode == 0
