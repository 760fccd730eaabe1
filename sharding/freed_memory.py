"""What becomes of memory that is freed: kept by the C library for what comes next, or given back to the system.

Both are glibc's (mallopt(3), malloc_trim(3)); with another C library nothing happens.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Has the C library keep what a step frees for the next one: taken anew, it costs a page fault for each 4 KiB.

    A step's logits and intermediate results are up to 100 MB on the demo's model. All threads share the first arena:
    others give their memory back in heaps of 64 MB, whatever the threshold.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_M_ARENA_MAX, 1)


def give_back_freed_memory() -> None:
    """Gives back what is free now. XLA's compiler leaves hundreds of megabytes in the C library, which keeps them."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
