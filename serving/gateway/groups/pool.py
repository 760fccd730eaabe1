"""GroupPool: the replica groups of one model, and the requests that wait for them."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from msgspec.structs import replace

from serving.config import ModelConfig
from serving.engine.request import GenerationChunk, GenerationRequest, Priority
from serving.errors import Reason, ServingError
from serving.gateway.backend import Handle, Sink
from serving.gateway.groups.group import LinkedGroup
from serving.gateway.groups.placement import Placement, choose, session_of
from serving.gateway.status import BackendStatus, GroupState, GroupStatus
from serving.link import GroupAddress
from serving.telemetry.tracing import past_span

_log = logging.getLogger("ray.serve.group_pool")  # below Ray Serve's logger, whose handlers write the log

_RETRY_AFTER_S = 1.0
_HEARTBEAT_S = 20.0
"""A group whose machine is gone is noticed within one and a half times this; one whose process is gone, at once."""
_RELINK_S = 0.5
_TELL_S = 0.05
"""How often, at most, the groups learn how many requests wait."""


class GroupPool:
    """Implements `serving.gateway.backend.ModelBackend` over links to the groups.

    A group that is lost before it gave anything is not the client's business: another one is tried once. A request
    fails with OVERLOADED when the model's queue is full, with UNAVAILABLE when its group is lost, or with what the
    group itself refused.
    """

    def __init__(
        self, model: ModelConfig, wake: Callable[[], Awaitable[object]], placement: Placement = choose
    ) -> None:
        """Starts without groups.

        Args:
          model: whose groups they are.
          wake: called when requests wait and there is no group; returns when there is one. Raises ServingError when
            there will be none.
          placement: chooses among them.
        """
        self._model = model
        self._wake = wake
        self._placement = placement
        self._tasks: dict[str, asyncio.Task[None]] = {}  # one for each link, also of groups that are to go
        self._linked: dict[str, LinkedGroup] = {}
        self._known: Mapping[str, GroupAddress] = {}
        self._waiting: dict[Priority, deque[_Submitted]] = {priority: deque() for priority in Priority}
        self._told_waiting = 0
        self._telling: asyncio.TimerHandle | None = None
        self._waking: asyncio.Task[None] | None = None

    def update(self, groups: Mapping[str, GroupAddress]) -> None:
        """Says which groups there are, by id; one that is no longer among them finishes what it has."""
        self._known = groups
        for group_id, address in groups.items():
            if group_id not in self._tasks:
                self._tasks[group_id] = asyncio.create_task(self._keep_link(group_id, address))
        self._on_change()

    async def close(self) -> None:
        """Ends all links."""
        if self._telling:
            self._telling.cancel()
        tasks = [*self._tasks.values(), *([self._waking] if self._waking else [])]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """Requests that wait here for a group with room."""
        return sum(map(len, self._waiting.values()))

    @property
    def groups(self) -> int:
        """Groups that take requests."""
        return len(self._candidates())

    async def ready(self) -> bool:
        """Whether some group answers now, or would be started for a request."""
        autoscaling = self._model.autoscaling
        return bool(self._candidates()) or (autoscaling is not None and autoscaling.min_replicas == 0)

    def status(self) -> BackendStatus:
        """The groups that there are, and those that finish what they have."""
        return BackendStatus(self.waiting, tuple(map(self._group_status, {**self._known, **self._linked})))

    def submit(self, request: GenerationRequest, sink: Sink) -> Handle:
        """Has one sequence generated on some group."""
        submitted = _Submitted(self, request, sink)
        self.place(submitted)
        return submitted

    def place(self, submitted: "_Submitted") -> None:
        """Gives a request to a group, or has it wait for one, or refuses it."""
        submitted.waits_since = time.time()
        self._waiting[submitted.request.priority].append(submitted)
        self._assign()
        if submitted.waits_since is not None and self.waiting > self._model.limits.max_queue:
            self.forget(submitted)
            submitted.fail(
                ServingError(
                    Reason.OVERLOADED,
                    f"model {self._model.id!r} has {self._model.limits.max_queue} requests waiting, its limit. "
                    "Try again in a moment.",
                    retry_after_s=_RETRY_AFTER_S,
                )
            )

    def forget(self, submitted: "_Submitted") -> None:
        """Takes a request from those that wait."""
        self._waiting[submitted.request.priority].remove(submitted)
        if submitted.request.trace and submitted.waits_since is not None:
            past_span("wait for a group", submitted.request.trace, submitted.waits_since, time.time(), {})
        submitted.waits_since = None
        self._tell_waiting()

    def _assign(self) -> None:
        """Gives the groups what they have room for, urgent requests first."""
        candidates = self._candidates()
        for queue in self._waiting.values():
            while queue:
                first = queue[0]
                group = self._placement(candidates, first.request, first.session, self._model.limits.max_rows)
                if group is None:
                    break
                self.forget(first)
                first.open(group)
        self._tell_waiting()
        if self.waiting and not self._known and self._waking is None:
            self._waking = asyncio.create_task(self._wake_groups())

    def _candidates(self) -> list[LinkedGroup]:
        return [group for group_id, group in self._linked.items() if group_id in self._known and group.serves]

    def _group_status(self, group_id: str) -> GroupStatus:
        group = self._linked.get(group_id)
        if group is None:
            return GroupStatus(group_id, GroupState.UNREACHABLE, requests=0)
        if not group.serves:
            return GroupStatus(group_id, GroupState.FAILED, group.load)
        return GroupStatus(group_id, GroupState.READY if group_id in self._known else GroupState.LEAVING, group.load)

    def _on_change(self) -> None:
        self._assign()
        for group_id in [group_id for group_id in self._tasks if group_id not in self._known]:
            if group_id not in self._linked or self._linked[group_id].idle:
                self._tasks.pop(group_id).cancel()

    async def _keep_link(self, group_id: str, address: GroupAddress) -> None:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {address.key}"}) as session:
            while True:
                group = LinkedGroup(group_id, self._on_change)
                try:
                    async with session.ws_connect(
                        address.url, heartbeat=_HEARTBEAT_S, compress=0, max_msg_size=0
                    ) as socket:
                        self._linked[group_id] = group
                        group.tell_waiting(self.waiting)
                        self._assign()
                        await group.run(socket)
                except Exception as error:
                    _log.info("no link to group %s of %s: %r", group_id, self._model.id, error)
                finally:
                    if self._linked.get(group_id) is group:
                        del self._linked[group_id]
                    self._on_change()
                await asyncio.sleep(_RELINK_S)

    async def _wake_groups(self) -> None:
        while self.waiting and not self._known:
            try:
                await self._wake()
            except ServingError as error:
                self._refuse_waiting(error)
            except Exception:
                _log.exception("no group of %s could be started", self._model.id)
            await asyncio.sleep(_RELINK_S)  # for the news of it to come
        self._waking = None

    def _refuse_waiting(self, error: ServingError) -> None:
        for submitted in [submitted for queue in self._waiting.values() for submitted in queue]:
            if submitted.waits_since is not None:  # another one that was refused may have aborted it
                self.forget(submitted)
                submitted.fail(error)

    def _tell_waiting(self) -> None:
        if self._telling is None and self.waiting != self._told_waiting:
            self._telling = asyncio.get_running_loop().call_later(_TELL_S, self._tell_waiting_now)

    def _tell_waiting_now(self) -> None:
        self._telling = None
        self._told_waiting = self.waiting
        for group in self._candidates():
            group.tell_waiting(self._told_waiting)


class _Submitted:
    """A request on its way to a group and in it: the handle of its submitter, and the sink of its group.

    Attributes:
      request: named anew when it is tried again: the first may still run where it was.
      session: the `session_of` the request.
      waits_since: Unix time since which it waits for a group; None if it does not.
    """

    def __init__(self, pool: GroupPool, request: GenerationRequest, sink: Sink) -> None:
        self.request = request
        self.session = session_of(request)
        self.waits_since: float | None = None
        self._pool = pool
        self._sink = sink
        self._group: LinkedGroup | None = None
        self._may_try_again = True

    def open(self, group: LinkedGroup) -> None:
        """Goes to a group, which has room."""
        self._group = group
        group.open(self.request, self)

    def feed(self, chunk: GenerationChunk) -> None:
        self._may_try_again = False
        self._sink.feed(chunk)

    def fail(self, error: ServingError) -> None:
        if self._may_try_again and error.reason is Reason.UNAVAILABLE:
            self._may_try_again = False
            self.request = replace(self.request, request_id=f"{self.request.request_id}-again")
            self._pool.place(self)
        else:
            self._sink.fail(error)

    def abort(self) -> None:
        if self.waits_since is not None:
            self._pool.forget(self)
        elif self._group is not None:
            self._group.abort(self.request.request_id)
