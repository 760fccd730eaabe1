"""Programs of the machine: iproute2, util-linux, runc, buildah."""

import asyncio
import shutil
import subprocess

_PACKAGES = {"ip": "iproute2", "unshare": "util-linux", "runc": "runc", "buildah": "buildah"}


class CommandError(Exception):
    """A program that failed, with what it said."""


class MissingError(Exception):
    """Something that a run needs and this machine lacks; the message says how to get it."""


def find_programs() -> None:
    """Looks for all programs.

    Raises:
      MissingError: some are not there.
    """
    missing = sorted(package for program, package in _PACKAGES.items() if shutil.which(program) is None)
    if missing:
        raise MissingError(f"This machine lacks {', '.join(missing)}. On Debian: apt-get install {' '.join(missing)}")


def run(*command: object) -> str:
    """Runs a command of a moment; returns its output.

    Raises:
      CommandError: it failed.
    """
    words = [str(word) for word in command]
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if result.returncode:
        raise CommandError(f"{' '.join(words)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


async def status_of(*command: object) -> tuple[int, str]:
    """Runs a command that may take long; returns its exit status and all of its output.

    A task that is cancelled meanwhile kills the command.
    """
    process = await asyncio.create_subprocess_exec(
        *(str(word) for word in command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")
