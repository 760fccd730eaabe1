"""EngineThread: runs an engine's steps while there is work, and sleeps while there is none."""

import threading
from collections.abc import Callable

from serving.engine.engine import Engine


class EngineThread:
    """Runs `engine.step` in a thread of its own, which does not keep the process alive.

    It sleeps only while no request is in flight, so deadlines need no timer: with a request in flight the next step
    follows at once, and sees them.
    """

    def __init__(self, engine: Engine, after_step: Callable[[], None] = lambda: None) -> None:
        """`after_step` is called in this thread after each step, when all its chunks are out."""
        self._engine = engine
        self._after_step = after_step
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Starts the steps."""
        self._thread.start()

    def stop(self, *, drain: bool, timeout_s: float) -> None:
        """Refuses new requests, ends those in flight, and ends the thread.

        Args:
          drain: let requests finish for up to `timeout_s`, then abort what is left; otherwise abort at once.
          timeout_s: seconds to drain, and seconds that the step in progress may take after that.

        Raises:
          TimeoutError: the step in progress did not end; its requests have no last chunk.
        """
        self._engine.close()
        if drain:
            self._thread.join(timeout_s)
        self._engine.abort_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(f"a step of the model did not end within timeout_s={timeout_s:g} seconds of the stop")

    def _run(self) -> None:
        while self._engine.wait_for_work():
            self._engine.step()
            self._after_step()
