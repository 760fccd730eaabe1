"""Placement: which replica group of a model a request goes to. Pure functions."""

import hashlib
import random
from collections.abc import Collection, Sequence
from typing import Protocol

from serving.engine.request import GenerationRequest, Priority

_HEAD_TOKENS = 64
"""Of a prompt, that name its file where no session does."""


class Candidate(Protocol):
    """A group that a request could go to."""

    @property
    def group_id(self) -> str: ...

    @property
    def load(self) -> int:
        """Requests in it."""
        ...

    @property
    def adapters(self) -> Collection[str]:
        """Those that it has in memory."""
        ...


class Placement(Protocol):
    """How the group of a request is chosen. `choose` is one; benchmarks compare others."""

    def __call__[C: Candidate](
        self, groups: Sequence[C], request: GenerationRequest, session: str, rows: int, /
    ) -> C | None: ...


def choose[C: Candidate](groups: Sequence[C], request: GenerationRequest, session: str, rows: int) -> C | None:
    """The group for a request, or None while it has to wait.

    A session stays where its prefix is cached while that group has a free row: all Gateways rank the groups of a
    session alike without talking to each other (rendezvous hashing, Thaler and Ravishankar 1998), and when a group
    comes or goes, only the sessions that it ranks first for move. Everything else goes where the least is going on.

    Of the groups with a free row, those that have the adapter of a request in memory come before the others; as long as
    none has it, the adapter itself has a home, so that not every group loads it for the sessions that begin with it.
    No request waits for one of them while another group has a row.

    A group takes some urgent requests beyond its rows: its engine starts them at once, whatever it does for others.
    What can wait does so outside, where the next free group gets it: work that is assigned never moves.

    Args:
      groups: those there are.
      request: normal ones may fill the rows, urgent ones half as many again.
      session: the `session_of` an urgent request; empty when it does not matter where the request goes.
      rows: requests that a group works on at the same time.
    """
    if not groups:
        return None
    least = _least(groups)
    holders = [group for group in groups if request.adapter in group.adapters]
    if request.adapter and not holders:
        session = request.adapter
    if session:
        home = max(holders or groups, key=lambda group: affinity(session, group.group_id))
        if home.load < rows:
            return home
    if holders and (holder := _least(holders)).load < rows:
        return holder
    most = rows + max(2, rows // 2) if request.priority is Priority.URGENT else rows
    return least if least.load < most else None


def _least[C: Candidate](groups: Sequence[C]) -> C:
    return min(groups, key=lambda group: (group.load, random.random()))


def affinity(session: str, group_id: str) -> int:
    """How much a session wants a group, in every process alike."""
    return int.from_bytes(hashlib.blake2b(f"{session}\0{group_id}".encode(), digest_size=8).digest())


def session_of(request: GenerationRequest) -> str:
    """What keeps an urgent request near what it shares work with: its session, or the head of its file.

    While a developer types, a file changes at the cursor; its first tokens stay. In another cache domain they are
    another file, and with another adapter, so that not every group loads all of them in turn. Of a conversation, one
    group knows as little as any other.
    """
    if request.priority is not Priority.URGENT:
        return ""
    head = repr((request.cache_domain, request.adapter, request.prompt_ids[:_HEAD_TOKENS])).encode()
    return request.session_id or hashlib.blake2b(head, digest_size=8).hexdigest()
