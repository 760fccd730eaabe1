"""What `codegemma serve` says and does when parts of the service are lost, without any of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.supervision.memory import Memory
from serving.supervision.watch import MISSING_S, Process, ServiceHealth, Sight, Verdict, Watch

_GIB = 2**30
_FREE, _FULL = Memory(8 * _GIB, 24 * _GIB), Memory(23 * _GIB, 24 * _GIB)
_PATIENCE_S = 100.0
_ALL = ("raylet", "GCS", "controller", "proxy manager", "HAProxy", "Gateway", "leader")
_DOWN = ServiceHealth(("HTTP: no connection", "gRPC: UNAVAILABLE"))


class Service:
    """A service that is in whatever state a test wants, and the watch of it."""

    def __init__(self) -> None:
        self.watch = Watch(_PATIENCE_S)
        self.now = 1000.0
        self.health = ServiceHealth()
        self.memory = _FREE
        self.processes = {kind: number for number, kind in enumerate(_ALL)}
        assert self.after(0) == Verdict()

    def lose(self, *kinds: str) -> None:
        for kind in kinds:
            del self.processes[kind]
        self.health = _DOWN

    def replace(self, *kinds: str) -> None:
        self.processes |= {kind: 100 + len(self.processes) for kind in kinds}

    def after(self, seconds: float) -> Verdict:
        """What the watch makes of the service, so much later."""
        self.now += seconds
        processes = frozenset(Process(kind, pid) for kind, pid in self.processes.items())
        return self.watch.see(Sight(self.health, processes, self.memory), self.now)

    def all_after(self, seconds: int) -> list[Verdict]:
        """What it makes of it every second of so many."""
        return [self.after(1) for _ in range(seconds)]


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_service_that_answers_is_not_spoken_of(service: Service) -> None:
    assert service.all_after(10_000) == [Verdict()] * 10_000


def test_replaced_processes_are_not_spoken_of_as_long_as_all_is_answered(service: Service) -> None:
    service.replace("Gateway", "leader", "HAProxy")
    assert service.after(1) == Verdict()


def test_what_is_lost_is_said_once_and_so_is_its_return(service: Service) -> None:
    service.lose("Gateway")
    first, *rest = service.all_after(5)
    assert first.line == (
        "Out of service: HTTP: no connection; gRPC: UNAVAILABLE. Lost: Gateway. Waiting for Ray to start it again."
    )
    assert rest == [Verdict()] * 4
    service.replace("Gateway")
    service.health = ServiceHealth()
    assert service.after(2) == Verdict("In service again after 6 s.")
    assert service.after(1) == Verdict()


def test_a_reloaded_haproxy_is_not_lost(service: Service) -> None:
    service.lose("Gateway")
    service.replace("HAProxy")
    assert "Lost: Gateway." in (service.after(1).line or "")


def test_full_memory_is_said_with_its_numbers(service: Service) -> None:
    service.memory = _FULL
    service.lose("Gateway", "leader")
    line = service.after(1).line
    assert line is not None
    assert "Lost: Gateway, leader. The memory is full (23.0 of 24.0 GiB in use)" in line


def test_memory_that_fills_up_later_is_said_once(service: Service) -> None:
    service.lose("Gateway")
    service.after(1)
    service.memory = _FULL
    lines = [verdict.line for verdict in service.all_after(10)]
    assert "memory is full" in (lines[0] or "")
    assert lines[1:] == [None] * 9


def test_as_long_as_memory_is_full_it_waits(service: Service) -> None:
    service.memory = _FULL
    service.lose("controller", "Gateway", "leader", "proxy manager", "HAProxy")
    assert not any(verdict.start_anew for verdict in service.all_after(100_000))


def test_what_has_not_been_started_again_since_memory_is_free_ends_the_wait(service: Service) -> None:
    service.memory = _FULL
    service.lose("controller", "leader")
    service.all_after(1000)
    service.memory = _FREE
    *waiting, last = service.all_after(int(MISSING_S) + 1)
    assert not any(verdict.start_anew for verdict in waiting)
    assert last == Verdict("Nothing starts controller, leader again: starting everything anew.", start_anew=True)


def test_a_group_that_reads_its_weights_gets_the_time_it_needs(service: Service) -> None:
    service.lose("leader")
    service.after(1)
    service.replace("leader")
    assert not any(verdict.start_anew for verdict in service.all_after(int(_PATIENCE_S)))
    assert service.after(1).start_anew


@pytest.mark.parametrize("kind", ["raylet", "GCS"])
@pytest.mark.parametrize("memory", [_FREE, _FULL])
def test_without_rays_foundation_all_starts_anew_even_if_it_still_answers(
    service: Service, kind: str, memory: Memory
) -> None:
    service.memory = memory
    service.lose(kind)
    service.health = ServiceHealth()
    verdict = service.after(1)
    assert verdict == Verdict(f"Lost: {kind}. Ray cannot go on without: starting everything anew.", start_anew=True)


def test_one_model_without_a_group_does_not_end_the_others(service: Service) -> None:
    service.lose("leader")
    service.health = ServiceHealth(unavailable=("chat",))
    first, *rest = service.all_after(10_000)
    assert (first.line or "").startswith("Degraded: no replica group answers for chat. Lost: leader.")
    assert rest == [Verdict()] * 9_999


def test_time_in_which_one_model_answered_does_not_count_as_out_of_service(service: Service) -> None:
    service.health = ServiceHealth(unavailable=("chat",))
    service.all_after(1000)
    service.lose("Gateway")
    *waiting, last = service.all_after(int(MISSING_S) + 2)
    assert not any(verdict.start_anew for verdict in waiting)
    assert last == Verdict("Nothing starts Gateway again: starting everything anew.", start_anew=True)


@given(st.lists(st.sampled_from([*_ALL[2:], "back", "free", "full"]), max_size=60))
def test_whatever_happens_it_says_one_line_for_each_change_and_never_waits_for_ever(events: list[str]) -> None:
    service = Service()
    lines = 0
    for event in events:
        match event:
            case "back":
                service.replace(*_ALL[2:])
                service.health = ServiceHealth()
            case "free" | "full":
                service.memory = _FREE if event == "free" else _FULL
            case _:
                service.processes.pop(event, None)
                service.health = _DOWN
        verdicts = service.all_after(3)
        if any(verdict.start_anew for verdict in verdicts):
            return
        lines += sum(verdict.line is not None for verdict in verdicts)
        assert lines <= len(events)
    service.memory = _FREE
    ends = any(verdict.start_anew for verdict in service.all_after(int(MISSING_S + _PATIENCE_S)))
    assert ends == bool(service.health.failures)
