"""The step-plan channel: steps reach every host, and whatever happens to a host, the leader hears of it."""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from serving.group.channel import TOKEN_BYTES, HostChannel, HostFailed, LeaderChannel
from serving.group.channel_messages import Ready, encode
from sharding.step import Opening, Row, SamplingParams, Token

TOKEN = secrets.token_bytes(TOKEN_BYTES)
ROWS = [
    Row(slot=0, start=0, token_ids=[1, 2], draws=1, pages=[0], opening=Opening(sampling=SamplingParams(seed=7))),
    Row(slot=1, start=4, token_ids=[3]),
]


@dataclass
class Recorder:
    """Answers with its own number, and remembers the plans."""

    number: int
    recompilations: int = 0
    plans: list[Sequence[Row]] = field(default_factory=list)
    landed: int = 0
    before: Callable[[], object] = lambda: None

    def launch(self, rows: Sequence[Row]) -> None:
        self.plans.append(list(rows))

    def land(self) -> list[list[Token]]:
        self.before()
        self.landed += 1
        return [[Token(self.number)] * row.draws for row in self.plans[self.landed - 1]]


@dataclass
class Hosts:
    """Hosts in threads of this process."""

    pool: ThreadPoolExecutor
    runners: list[Recorder]
    channels: list[HostChannel] = field(default_factory=list)
    following: list[Future[None]] = field(default_factory=list)

    def start(self) -> list[tuple[str, int]]:
        for rank, runner in enumerate(self.runners):
            self.channels.append(HostChannel("127.0.0.1", TOKEN))
            self.following.append(self.pool.submit(self.channels[-1].follow, runner, answers_tokens=rank == 0))
        return [channel.address for channel in self.channels]


def step(leader: LeaderChannel, rows: Sequence[Row] = ROWS) -> list[list[Token]]:
    leader.launch(rows)
    return leader.land()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_every_host_runs_the_plan_and_the_first_one_answers(pool: ThreadPoolExecutor) -> None:
    hosts = Hosts(pool, [Recorder(10), Recorder(11), Recorder(12)])
    leader = LeaderChannel(hosts.start(), TOKEN, timeout_s=30)
    for _ in range(3):
        assert step(leader) == [[Token(10)], []]
    leader.close()
    for following, runner in zip(hosts.following, hosts.runners, strict=True):
        assert following.result(30) is None
        assert runner.plans == [ROWS] * 3


def test_a_plan_larger_than_what_a_socket_takes_at_once_arrives(pool: ThreadPoolExecutor) -> None:
    hosts = Hosts(pool, [Recorder(0)])
    leader = LeaderChannel(hosts.start(), TOKEN, timeout_s=30)
    row = Row(slot=0, start=0, token_ids=list(range(300_000)), pages=list(range(100_000)))
    assert step(leader, [row]) == [[]]
    leader.close()
    assert hosts.runners[0].plans == [[row]]


def test_compilations_are_added_up_over_the_hosts(pool: ThreadPoolExecutor) -> None:
    hosts = Hosts(pool, [Recorder(0, recompilations=2), Recorder(1, recompilations=3)])
    leader = LeaderChannel(hosts.start(), TOKEN, timeout_s=30)
    for _ in range(2):  # in a step, the first host's answer is enough
        step(leader)
    leader.close()
    assert leader.recompilations == 5


def test_an_error_of_any_host_reaches_the_leader_with_its_name(pool: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise FloatingPointError("not numbers")

    stuck = threading.Event()  # the first host waits for the other, as in a collective
    hosts = Hosts(pool, [Recorder(0, before=lambda: stuck.wait(30)), Recorder(1, before=fail)])
    addresses = hosts.start()
    leader = LeaderChannel(addresses, TOKEN, timeout_s=30)
    with pytest.raises(
        HostFailed, match=rf"^host 1 \(127.0.0.1:{addresses[1][1]}\) failed in a step: FloatingPointError: not numbers$"
    ):
        step(leader)
    stuck.set()
    with pytest.raises(FloatingPointError):
        hosts.following[1].result(30)
    with pytest.raises(HostFailed, match="closed"):
        step(leader)


def test_an_error_after_the_first_host_has_answered_is_raised_in_the_next_step(pool: ThreadPoolExecutor) -> None:
    answered = threading.Event()

    def fail() -> None:
        answered.wait(30)
        raise FloatingPointError("not numbers")

    hosts = Hosts(pool, [Recorder(0), Recorder(1, before=fail)])
    leader = LeaderChannel(hosts.start(), TOKEN, timeout_s=30)
    assert step(leader) == [[Token(0)], []]
    answered.set()
    with pytest.raises(HostFailed, match=r"^host 1 .* failed in a step: FloatingPointError: not numbers$"):
        step(leader)


def test_a_host_that_breaks_off_in_a_step_is_named(pool: ThreadPoolExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        breaking_off = pool.submit(_break_off, listener)
        leader = LeaderChannel([listener.getsockname()], TOKEN, timeout_s=30)
        with pytest.raises(HostFailed, match=r"host 0 \(127.0.0.1:\d+\) broke off: .*(reset|closed)"):
            step(leader)
        breaking_off.result(30)


def test_a_first_host_that_is_silent_is_named_after_the_timeout(pool: ThreadPoolExecutor) -> None:
    silent = threading.Event()
    hosts = Hosts(pool, [Recorder(0, before=lambda: silent.wait(30))])
    leader = LeaderChannel(hosts.start(), TOKEN, timeout_s=30)
    leader._timeout_s = 0.2  # from now on: to connect may take longer
    with pytest.raises(HostFailed, match=r"^host 0 \(127.0.0.1:\d+\): no answer to a step for 0.2 s$"):
        step(leader)
    silent.set()


def test_another_host_that_is_silent_is_named_in_the_next_step(pool: ThreadPoolExecutor) -> None:
    silent = threading.Event()
    hosts = Hosts(pool, [Recorder(0), Recorder(1, before=lambda: silent.wait(30))])
    leader = LeaderChannel(hosts.start(), TOKEN, timeout_s=30)
    assert step(leader) == [[Token(0)], []]
    leader._timeout_s = 0.2
    with pytest.raises(HostFailed, match=r"host 1 \(127.0.0.1:\d+\): no answer to a step for 0.2 s$"):
        step(leader)
    silent.set()


def test_a_leader_with_another_token_is_not_taken_and_does_not_keep_the_right_one_away(
    pool: ThreadPoolExecutor,
) -> None:
    hosts = Hosts(pool, [Recorder(5)])
    addresses = hosts.start()
    with pytest.raises(HostFailed, match=r"host 0 .* does not take this leader"):
        LeaderChannel(addresses, os.urandom(TOKEN_BYTES), timeout_s=30)
    leader = LeaderChannel(addresses, TOKEN, timeout_s=30)
    assert step(leader) == [[Token(5)], []]
    leader.close()


def test_a_stranger_who_says_nothing_does_not_keep_the_leader_away(pool: ThreadPoolExecutor) -> None:
    hosts = Hosts(pool, [Recorder(5)])
    addresses = hosts.start()
    with socket.create_connection(addresses[0]):
        leader = LeaderChannel(addresses, TOKEN, timeout_s=30)
        assert step(leader) == [[Token(5)], []]
        leader.close()


def test_a_host_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(HostFailed, match=r"host 0 .* does not take this leader: .*refused"):
        LeaderChannel([address], TOKEN, timeout_s=30)


def _break_off(listener: socket.socket) -> None:
    """Takes a leader like a host, and closes the connection at the first plan."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(TOKEN_BYTES, socket.MSG_WAITALL)
        connection.sendall(len(ready := encode(Ready())).to_bytes(4, "little") + ready)
        connection.recv(1)
