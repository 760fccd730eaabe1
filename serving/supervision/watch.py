"""Watch: what is said of a service that is lost in part, and when it has to be started anew. It does neither itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from serving.supervision.memory import Memory
from serving.supervision.processes import FOUNDATION

_RELOADED = frozenset({"HAProxy"})
"""Replaced by another process whenever its configuration changes; lost only if there is none."""
MISSING_S = 20.0
"""Ray starts a process again within seconds. What is not there by now does not come by itself."""


@dataclass(frozen=True)
class Process:
    """A process of the service: what it is, and its process id."""

    kind: str
    pid: int


class Condition(Enum):
    """How much of the service answers."""

    IN_SERVICE = "in service"
    DEGRADED = "degraded"
    OUT_OF_SERVICE = "out of service"


@dataclass(frozen=True)
class ServiceHealth:
    """What clients find.

    Attributes:
      failures: what is wrong with HTTP or gRPC, in words; none if both answer.
      unavailable: models that no replica group answers for, while others are answered.
    """

    failures: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()

    @property
    def condition(self) -> Condition:
        """HTTP and gRPC are both needed; one model is enough to be in service in part."""
        if self.failures:
            return Condition.OUT_OF_SERVICE
        return Condition.DEGRADED if self.unavailable else Condition.IN_SERVICE

    def __str__(self) -> str:
        missing = f"no replica group answers for {', '.join(self.unavailable)}"
        return "; ".join((*self.failures, missing) if self.unavailable else self.failures)


@dataclass(frozen=True)
class Sight:
    """The service as it was seen at one moment."""

    health: ServiceHealth
    processes: frozenset[Process]
    memory: Memory


@dataclass(frozen=True)
class Verdict:
    """What follows: a line to print, if there is news, and whether all has to be started anew."""

    line: str | None = None
    start_anew: bool = False


class Watch:
    """Follows a service that has been ready once.

    Ray and Ray Serve start again what is lost, and as long as memory is short nothing else could. The service has to be
    started anew when they cannot (their own foundation is lost) or do not.
    """

    def __init__(self, patience_s: float) -> None:
        """`patience_s`: how long all processes may be there and not answer, as when a group reads its weights."""
        self._patience_s = patience_s
        self._condition = Condition.IN_SERVICE
        self._known: frozenset[Process] = frozenset()  # when it was last in service
        self._said_short = False
        self._since = self._free_since = self._complete_since = 0.0

    def see(self, sight: Sight, now: float) -> Verdict:
        """What to make of a sight at `now`, in seconds of any clock that does not go back."""
        if lost_foundation := FOUNDATION - _kinds(sight.processes):
            return Verdict(f"Lost: {_list(lost_foundation)}. Ray cannot go on without: starting everything anew.", True)
        before, self._condition = self._condition, sight.health.condition
        if self._condition is Condition.IN_SERVICE:
            self._known = sight.processes
            is_back = before is not Condition.IN_SERVICE
            return Verdict(f"In service again after {now - self._since:.0f} s." if is_back else None)
        if before is Condition.IN_SERVICE:
            self._since = now
            self._said_short = False
        if before is not Condition.OUT_OF_SERVICE or sight.memory.is_short:
            self._free_since = self._complete_since = now
        missing = _kinds(self._known) - _kinds(sight.processes)
        if not missing:
            self._complete_since = now
        if self._condition is Condition.OUT_OF_SERVICE:
            if now - self._complete_since > MISSING_S:
                return Verdict(f"Nothing starts {_list(missing)} again: starting everything anew.", True)
            if now - self._free_since > self._patience_s:
                return Verdict(f"Out of service for {now - self._free_since:.0f} s: starting everything anew.", True)
        return Verdict(self._news(sight, before))

    def _news(self, sight: Sight, before: Condition) -> str | None:
        short = sight.memory.is_short
        if self._condition is before and (self._said_short or not short):
            return None
        self._said_short = short
        line = f"{self._condition.value.capitalize()}: {sight.health}."
        lost = _kinds(self._known - sight.processes) - (_RELOADED & _kinds(sight.processes))
        if lost:
            line += f" Lost: {_list(lost)}."
        if short:
            return f"{line} The memory is full ({sight.memory} in use): free some, and it comes back by itself."
        return f"{line} Waiting for Ray to start it again."


def _kinds(processes: Iterable[Process]) -> frozenset[str]:
    return frozenset(process.kind for process in processes)


def _list(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(kinds))
