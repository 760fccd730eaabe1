"""memory_bytes: the memory of a process and of all that it has started."""

import os
from pathlib import Path

_COUNTED = ("VmRSS", "VmSwap", "VmPTE")


def memory_bytes(pid: int) -> int:
    """Bytes of memory in use by a process and its descendants, as far as they are still there.

    One pass over `/proc/*/status` (proc_pid_status(5)): what is resident, what is swapped out, and the page tables.
    """
    used: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                lines = Path("/proc", entry, "status").read_text(errors="replace").splitlines()
            except OSError:
                continue  # it has ended
            fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
            used[int(entry)] = sum(int(fields[name].split()[0]) for name in _COUNTED if name in fields)
            children.setdefault(int(fields["PPid"]), []).append(int(entry))
    total, left = 0, [pid]
    while left:
        one = left.pop()
        total += used.get(one, 0)
        left += children.get(one, ())
    return total * 1024
