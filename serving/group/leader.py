"""The leader of a replica group: the Ray Serve replica that owns a model, its engine and its devices."""

import logging
import os
from typing import Any

from ray.util import get_node_ip_address

from serving.autoscaling.report import ReplicaReport
from serving.config import ModelConfig
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.engine.stats import EngineStats
from serving.group.channel import HostFailed
from serving.group.metrics import GroupMetrics
from serving.group.progress import OnProgress, Progress, report
from serving.group.runner import GroupRunner, load_runner
from serving.group.server import GroupServer
from serving.group.tracing import GroupTracer
from serving.servers.grpc_server import harden
from serving.telemetry.recorder import RayRecorder

_log = logging.getLogger("ray.serve.replica_group")  # below Ray Serve's logger, whose handlers write the log

harden()  # here, as Ray Serve makes a replica's gRPC server once it has read the replica's class


class ReplicaGroup:
    """One model, ready when constructed: weights loaded, every step compiled.

    A Ray Serve deployment class. Ray Serve places it, watches it and scales it; requests come over the links of its
    `GroupServer`.
    """

    def __init__(self, model: ModelConfig) -> None:
        def on_progress(phase: str, done: int, total: int) -> None:
            report(Progress(model.id, phase, done, total))

        self._model = model
        self._runner = self.load(model, on_progress)
        self._tracer = GroupTracer()
        self._engine = Engine(
            self._runner,
            max_queue=model.limits.max_queue,
            adapters=self._runner.adapters,
            on_traced=self._tracer,
        )
        self._server = GroupServer(self._engine, get_node_ip_address(), self._runner.adapters)
        self._thread = EngineThread(self._engine, after_step=self._server.after_step)
        self._thread.start()
        self._metrics = GroupMetrics(model, self._engine, self._runner, RayRecorder())
        self._address = self._server.start()
        on_progress("ready", 1, 1)

    @classmethod
    def load(cls, model: ModelConfig, on_progress: OnProgress) -> GroupRunner:
        """What executes the steps of this kind of group."""
        return load_runner(model, on_progress)

    def record_replica_metadata(self) -> dict[str, Any]:
        """Called by Ray Serve when the group is ready; it tells every Gateway, which then links to the group."""
        return self._address.to_metadata()

    async def wake(self) -> None:
        """Called through a handle when no group of the model runs: for Ray Serve to start one."""

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
            waiting=self._server.waiting,
        ).to_stats()

    async def check_health(self) -> None:
        """Called by Ray Serve every second; also reports the state of the group to the metrics.

        A group that cannot go on, because a step failed or hangs or a host is silent, ends its process. All of Ray sees
        that at once: its requests end with a retryable error, every link to it ends, and Ray Serve starts another.

        Raises:
          RayActorError: a host of the group is gone; Ray Serve replaces the group.
        """
        self._metrics.report()
        try:
            await self._runner.check()
        except HostFailed as error:
            self._engine.fail(error)
        hung_s = self._engine.step_running_s()
        if hung_s > self._model.step_timeout_s:
            self._engine.fail(TimeoutError(f"a step has not ended after {hung_s:.0f} s"))
        if self._engine.failure is not None:
            _log.critical("the engine of %s is out of service: %r", self._model.id, self._engine.failure)
            os._exit(1)

    def __del__(self) -> None:
        """Called by Ray Serve when Gateways no longer get this group: finishes the requests in flight, and ends."""
        if not hasattr(self, "_address"):
            return  # construction failed
        try:
            with self._metrics.reporting():  # Ray Serve does not ask for the health of a group that leaves
                self._thread.stop(drain=True, timeout_s=self._model.drain_timeout_s)
        finally:
            self._server.stop()
            self._runner.close()
            self._tracer.close()
