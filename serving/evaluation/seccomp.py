"""seccomp_filter: refuses the system calls by which a program has memory that no limit on its processes counts.

What a memfd, a System V segment, a shared mapping without a file, a queue or a ring holds is in the resident memory of
no process and under no resource limit. Of sockets there are pairs alone, which compilers and the JVM take: their
buffers cannot grow and none is sent through another, so that the limit on open files bounds what they hold.

The filter is a program of classic BPF over `struct seccomp_data` (Documentation/userspace-api/seccomp_filter.rst,
linux/seccomp.h, linux/filter.h). A call that it refuses fails with ENOSYS, as on a kernel that is older than the call.
"""

import errno
import platform
import struct
from dataclasses import dataclass

# linux/bpf_common.h: BPF_LD | BPF_W | BPF_ABS; BPF_JMP | BPF_JEQ or BPF_JGE | BPF_K; BPF_ALU | BPF_AND | BPF_K;
# BPF_RET | BPF_K
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _FOURTH_ARGUMENT = 0, 4, 16 + 3 * 8  # in seccomp_data; the low half of the argument comes first
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_X32 = 0x40000000
"""x86_64 has its calls twice; those of the x32 ABI have this bit."""
_SHARED_ANONYMOUS = 0x01 | 0x20
"""MAP_SHARED and MAP_ANONYMOUS, asm-generic/mman-common.h; MAP_SHARED_VALIDATE has the bit of MAP_SHARED."""


@dataclass(frozen=True)
class _Machine:
    """What a machine calls its system calls.

    Attributes:
      architecture: of linux/audit.h. Calls by another, as of 32-bit programs, are refused.
      mmap: its number.
      refused: numbers of those that are refused, whatever their arguments.
    """

    architecture: int
    mmap: int
    refused: dict[str, int]


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        9,
        {
            "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68, "semget": 64, "vmsplice": 278,
            "io_uring_setup": 425, "bpf": 321, "socket": 41, "sendmsg": 46, "sendmmsg": 307, "setsockopt": 54,
        },
    ),
    "aarch64": _Machine(
        0xC00000B7,
        222,
        {
            "memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186, "semget": 190, "vmsplice": 75,
            "io_uring_setup": 425, "bpf": 280, "socket": 198, "sendmsg": 211, "sendmmsg": 269, "setsockopt": 208,
        },
    ),
}  # fmt: skip


class UnknownMachineError(Exception):
    """There is no filter for this machine; the message says for which there is."""


def seccomp_filter(machine: str = platform.machine()) -> bytes:
    """The filter as an array of `struct sock_filter`, which `bwrap --seccomp` reads.

    Raises:
      UnknownMachineError: the machine's system calls are not known.
    """
    if machine not in _MACHINES:
        raise UnknownMachineError(f"Programs are limited on {' and '.join(_MACHINES)}, not on {machine}.")
    known = _MACHINES[machine]
    checks = len(known.refused)
    refuse = 9 + checks  # where the last instruction is; a jump is counted from the instruction after its own
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_IF_EQUAL, known.architecture, otherwise=refuse - 2),
        _step(_LOAD, _NUMBER),
        _step(_IF_AT_LEAST, _X32, then=refuse - 4),
        *(
            _step(_IF_EQUAL, number, then=refuse - 5 - index)
            for index, number in enumerate(known.refused.values())
        ),
        _step(_IF_EQUAL, known.mmap, otherwise=3),
        _step(_LOAD, _FOURTH_ARGUMENT),
        _step(_AND, _SHARED_ANONYMOUS),
        _step(_IF_EQUAL, _SHARED_ANONYMOUS, then=1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]  # fmt: skip
    return b"".join(program)


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """A `struct sock_filter`: code, jumps if true and if false, value."""
    return struct.pack("=HBBI", code, then, otherwise, value)
