"""A process that takes memory, never more than a GiB and a half: a safe stand-in for one that takes all there is."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from serving.supervision.memory import memory

_PIECE = 32 * 2**20
_LIMIT = 48 * _PIECE
_PERIOD_S = 0.05
_PROGRAM = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_LIMIT + 2**28}, {_LIMIT + 2**28}))
held = [b"x" * {_PIECE} for _ in sys.stdin]
"""


@contextmanager
def memory_in_use(level: int) -> Iterator[None]:
    """Holds the memory in use at this many bytes at least, if a GiB and a half are enough for that."""
    hog = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, text=True)
    enough = threading.Event()

    def fill() -> None:
        taken = 0
        while not enough.wait(_PERIOD_S):
            if memory().used < level and taken < _LIMIT:
                print(file=hog.stdin, flush=True)
                taken += _PIECE

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        yield
    finally:
        enough.set()
        filling.join()
        hog.communicate()
