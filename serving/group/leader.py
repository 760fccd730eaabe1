"""The leader of a replica group: the Ray Serve replica that owns a model, its engine and its devices."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import replace

from serving.autoscaling.report import ReplicaReport
from serving.config import ModelConfig
from serving.engine.engine import DeadlineUnreachable, Engine, EngineStats, EngineUnavailable, QueueFull
from serving.engine.loop import EngineThread
from serving.engine.request import GenerationChunk, GenerationRequest
from serving.engine.sequence import OnChunk
from serving.errors import Reason, ServingError
from serving.group.model import load_runner
from serving.group.progress import OnProgress, Progress, report
from serving.group.runner import GroupRunner

_log = logging.getLogger("ray.serve.replica_group")  # below Ray Serve's logger, whose handlers write the log

_RETRY_AFTER_S = 1.0
_REMEMBERED_ABORTS = 256
"""More than can be on their way to a group at the same time."""


class ReplicaGroup:
    """One model, ready when constructed: weights loaded, every step compiled.

    A Ray Serve deployment class; the Gateway calls `generate` through a handle.
    """

    def __init__(self, model: ModelConfig) -> None:
        def on_progress(phase: str, done: int, total: int) -> None:
            report(Progress(model.id, phase, done, total))

        self._model = model
        self._runner = self.load(model, on_progress)
        self._engine = Engine(self._runner, max_queue=model.limits.max_queue)
        self._thread = EngineThread(self._engine)
        self._thread.start()
        self._aborted: deque[str] = deque(maxlen=_REMEMBERED_ABORTS)
        on_progress("ready", 1, 1)

    @classmethod
    def load(cls, model: ModelConfig, on_progress: OnProgress) -> GroupRunner:
        """What executes the steps of this kind of group."""
        return load_runner(model, on_progress)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationChunk, None]:
        """Generate one sequence; a cancelled call is aborted in the engine, in whatever phase it is.

        Yields the first token at once, and together what becomes available while a chunk is being sent.

        Raises:
          ServingError: CONTEXT_LENGTH_EXCEEDED, OVERLOADED or UNAVAILABLE.
        """
        if request.request_id in self._aborted:
            return
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[GenerationChunk] = asyncio.Queue()

        def deliver(chunk: GenerationChunk) -> None:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)

        self._submit(request, deliver)
        try:
            finished = False
            while not finished:
                chunk = await chunks.get()
                while not chunks.empty():
                    chunk = _join(chunk, chunks.get_nowait())
                finished = chunk.finish_reason is not None
                yield chunk
        finally:
            self._engine.abort(request.request_id)

    async def abort(self, request_id: str) -> None:
        """End a request whose caller is gone; also one that has not arrived yet."""
        self._aborted.append(request_id)
        self._engine.abort(request_id)

    async def stats(self) -> EngineStats:
        """Where the engine stands."""
        return self._engine.stats()

    async def recompilations(self) -> int:
        """How many times a step was compiled after the group was ready; anything but 0 is a bug."""
        return self._runner.recompilations

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray Serve, for the autoscaling policy."""
        stats = self._engine.stats()
        return ReplicaReport(
            queued=stats.queued,
            running=stats.running,
            rows=self._model.limits.max_rows,
            queued_tokens=stats.queued_tokens,
        ).to_stats()

    async def check_health(self) -> None:
        """Called by Ray Serve every second.

        A group that cannot go on, because a step failed or hangs, ends its process. All of Ray sees that at once: its
        requests end with a retryable error, no handle asks it again, and Ray Serve starts another.

        Raises:
          RayActorError: a host of the group is gone; Ray Serve replaces the group.
        """
        await self._runner.check()
        hung_s = self._engine.step_running_s()
        if hung_s > self._model.step_timeout_s:
            self._engine.fail(TimeoutError(f"a step has not ended after {hung_s:.0f} s"))
        if self._engine.failure is not None:
            _log.critical("the engine of %s is out of service: %r", self._model.id, self._engine.failure)
            os._exit(1)

    def __del__(self) -> None:
        """Called by Ray Serve once requests have drained."""
        if not hasattr(self, "_thread"):
            return  # construction failed
        try:
            self._thread.stop(drain=False, timeout_s=10)
        finally:
            self._runner.close()

    def _submit(self, request: GenerationRequest, deliver: OnChunk) -> None:
        try:
            self._engine.submit(request, deliver)
        except ValueError as error:
            raise ServingError(Reason.CONTEXT_LENGTH_EXCEEDED, str(error), "prompt") from None
        except QueueFull as error:
            raise ServingError(Reason.OVERLOADED, str(error), retry_after_s=_RETRY_AFTER_S) from None
        except DeadlineUnreachable as error:
            raise ServingError(Reason.DEADLINE_EXCEEDED, str(error)) from None
        except EngineUnavailable as error:
            raise ServingError(Reason.UNAVAILABLE, str(error), retry_after_s=_RETRY_AFTER_S) from None


def _join(first: GenerationChunk, second: GenerationChunk) -> GenerationChunk:
    return replace(
        second,
        tokens=first.tokens + second.tokens,
        cached_tokens=first.cached_tokens + second.cached_tokens,
    )
