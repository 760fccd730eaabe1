"""A process in front of HAProxy's own, for Ray Serve to kill: HAProxy then ends its requests before it ends itself.

Ray Serve kills a proxy that it has drained, when no request was open a moment ago. Clients that keep a connection may
have sent one since, and would lose it. HAProxy whose parent is gone stops as on SIGUSR1: it listens no more, tells
clients to connect elsewhere (`Connection: close`, GOAWAY), and ends after its last request, or `hard-stop-after`.
"""

import ctypes
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_FORWARDED = (
    signal.SIGUSR1,  # stop gently: from the HAProxy that takes over (`-sf`), or Ray Serve
    signal.SIGTTOU,  # let the ports go for a moment, to the HAProxy that takes over
    signal.SIGTTIN,  # take them back
    signal.SIGTERM,
    signal.SIGINT,
)


def keep(command: list[str]) -> NoReturn:
    """Runs a command, hands signals on to it, and ends as it does.

    Args:
      command: the program's path, and its arguments.
    """
    keeper = os.getpid()
    haproxy = os.fork()
    if not haproxy:
        _stop_gently_without(keeper)
        os.execv(command[0], command)

    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(haproxy, number)

    for each in _FORWARDED:
        signal.signal(each, forward)
    _, status = os.waitpid(haproxy, 0)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


def _stop_gently_without(parent: int) -> None:
    """Has the kernel send this process SIGUSR1 when its parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before
        sys.exit(1)
