"""SessionRouter: which replica group of a model a request goes to."""

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from ray.serve._private.common import RequestMetadata
from ray.serve._private.request_router.common import PendingRequest
from ray.serve._private.request_router.replica_wrapper import RunningReplica
from ray.serve.request_router import RequestRouter

from serving.engine.request import GenerationRequest, Priority

_HEAD_TOKENS = 64
"""Of a prompt, that name its file where no session does."""


class SessionRouter(RequestRouter):
    """Keeps a session on one replica while that has a free row; everything else goes where the least is going on.

    A replica takes somewhat more requests than it has rows. That room is for urgent ones, which the engine starts at
    once however much it does for others; what can wait does so here, where the next free replica gets it.

    A Ray Serve request router: it runs in each process that holds a handle, and all of them rank the replicas of a
    session alike without talking to each other (rendezvous hashing, Thaler and Ravishankar 1998). When a replica comes
    or goes, only the sessions that it ranks first for move.
    """

    def initialize_state(self, **kwargs: Any) -> None:
        """Called by Ray Serve with the `request_router_kwargs`: `rows`, requests that a replica works on at once."""
        self._rows: int = kwargs["rows"]

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """The replicas to try, best first; of those in one list, the one with the fewest requests."""
        everyone = random.sample(candidate_replicas, len(candidate_replicas))  # equals in no order
        if pending_request is None:
            return [everyone]
        pending_request.routing_context.should_backoff = True  # all are tried at once: wait before the next round
        if not _is_urgent(pending_request):
            return [await self._with_a_row(everyone)]
        session_id = pending_request.metadata.session_id
        if not session_id or not everyone:
            return [everyone]
        home = max(everyone, key=lambda replica: affinity(session_id, replica.replica_id.unique_id))
        return [[home], everyone] if self._has_a_row(home) else [everyone]

    @property
    def max_num_routing_tasks(self) -> int:
        """Ray Serve's own number, and one for each urgent request, so that none waits behind those without a row."""
        urgent = sum(_is_urgent(pending) for pending in self._pending_requests_to_fulfill if not pending.future.done())
        return int(super().max_num_routing_tasks) + urgent

    def _get_next_pending_request_to_route(self) -> PendingRequest | None:
        queue = self._pending_requests_to_route
        first = next((pending for pending in queue if _is_urgent(pending) and not pending.future.done()), None)
        if first is None:
            return super()._get_next_pending_request_to_route()
        queue.remove(first)
        return first

    def _fulfill_next_pending_request(
        self, replica: RunningReplica, request_metadata: RequestMetadata | None = None
    ) -> None:
        # Ray Serve looks it up by an id that all calls for one request of a client share; the choices of one answer
        # would take each other's place, and all but one would wait for ever.
        for pending in self._pending_requests_to_fulfill:
            if pending.metadata is request_metadata and not pending.future.done():
                self._cancel_routing_task_for_pending_request(pending)
                self._record_queue_wait_time(pending)
                pending.future.set_result(replica)
                self._remove_pending_request_from_indices(pending)
                return

    async def _with_a_row(self, replicas: list[RunningReplica]) -> list[RunningReplica]:
        free = [replica for replica in replicas if self._has_a_row(replica)]
        if not free and replicas:
            await self._probe_queue_lens(replicas, 0)  # what is known here may be old: ask, for the next round too
            free = [replica for replica in replicas if self._has_a_row(replica)]
        return free

    def _has_a_row(self, replica: RunningReplica) -> bool:
        return (self.replica_queue_len_cache.get(replica.replica_id) or 0) < self._rows


def _is_urgent(pending_request: PendingRequest) -> bool:
    """Whether it is a `generate` of an urgent request, or a call of another kind, which takes no row."""
    request = pending_request.args[0] if pending_request.args else None
    return not isinstance(request, GenerationRequest) or request.priority is Priority.URGENT


def affinity(session_id: str, replica_id: str) -> int:
    """How much a session wants a replica, in every process alike."""
    return int.from_bytes(hashlib.blake2b(f"{session_id}\0{replica_id}".encode(), digest_size=8).digest())


def session_of(session_id: str, prompt_ids: Sequence[int]) -> str:
    """What keeps a request near what it shares work with: its session, or the head of its file.

    While somebody types, a file changes where the cursor is; its first tokens stay.
    """
    return session_id or hashlib.blake2b(repr(tuple(prompt_ids[:_HEAD_TOKENS])).encode(), digest_size=8).hexdigest()
