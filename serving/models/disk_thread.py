"""DiskThread: calls that may hang with a disk, for an event loop that must not."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue


class DiskThread:
    """Runs calls one after the other in a thread, and has nobody wait long for one.

    Nothing ends a thread that hangs in the kernel. So there is one, however many calls there are, and it keeps neither
    the event loop nor the end of the process waiting.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        """The thread is started with the first call, and waits for the next one until the process ends.

        Args:
          name: of the thread.
          timeout_s: how long anybody waits for a call.
        """
        self._name = name
        self._timeout_s = timeout_s
        self._calls: SimpleQueue[tuple[str, Callable[[], None]]] = SimpleQueue()
        self._asked: dict[str, Future[None]] = {}  # of the calls that have not ended
        self._late: Future[None] | None = None  # the newest that somebody has waited for in vain
        self._thread: threading.Thread | None = None

    async def run(self, key: str, call: Callable[[], None]) -> None:
        """Waits until a call has ended, or another one with the same key that had been asked for.

        Raises:
          TimeoutError: it has not in time; or at once, while another that took too long has not ended.
          Exception: what the call raised.
        """
        if self._late is not None and not self._late.done():
            raise TimeoutError
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = Future()
            asked.set_running_or_notify_cancel()  # whoever waits may go; others may wait for the same
            self._calls.put((key, call))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.wrap_future(asked)
        except TimeoutError:
            self._late = asked
            raise

    def _run(self) -> None:
        while True:
            key, call = self._calls.get()
            error: BaseException | None = None
            try:
                call()
            except Exception as raised:
                error = raised
            asked = self._asked.pop(key)
            if error is None:
                asked.set_result(None)
            else:
                asked.set_exception(error)
