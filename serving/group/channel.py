"""The step-plan channel of a replica group: the leader sends each step's plan to every host over TCP.

The leader connects to each host, proves itself with the group's token, and is answered that it is taken. From then on a
message goes each way per step: the plan, and what came of it. Plans may be ahead of answers: a host launches each as it
comes, and answers when it has landed. What does not change from step to step stays with the hosts (`sharding.slots`),
so a plan is small whatever the length of the sequences. Between two plans the leader may have the hosts load an adapter
that all of them have read: each does so at the same place among its steps.

A step has landed when the first host has answered: all hosts compute each token together, so by then every one has
done its part. The others' answers are awaited before the next one lands, so no host falls behind by more than one.
"""

import hmac
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Protocol

import msgspec

from serving.group.channel_messages import (
    Failure,
    Landed,
    LoadAdapter,
    Ready,
    decode_from_host,
    decode_from_leader,
    encode,
)
from serving.group.frames import Frames, frame, receive_some
from sharding.step import Row, Token

TOKEN_BYTES = 32
"""Length of a group's token, by which a host knows its leader."""

_HANDSHAKE_S = 1.0
"""A connection to a host must show the token within this time."""

type Address = tuple[str, int]


class HostFailed(Exception):  # noqa: N818 - an event in a group, like Ray's ActorDied
    """A host broke off, fell silent or failed in a step; names the host. The group's KV cache is in doubt."""


class StepRunner(Protocol):
    """What a host runs its steps on; `serving.group.local_runner.LocalRunner` is one."""

    @property
    def recompilations(self) -> int: ...

    def launch(self, rows: Sequence[Row]) -> None: ...

    def land(self) -> list[list[Token]]: ...


class LeaderChannel:
    """The leader's end: runs steps on all hosts. After a failure it is closed.

    Attributes:
      recompilations: of all hosts, as of the last step; of all but the first one possibly as of the step before.
    """

    def __init__(self, hosts: Sequence[Address], token: bytes, timeout_s: float) -> None:
        """Connects to every host.

        Args:
          hosts: where each listens; the first one answers with the tokens.
          token: the group's.
          timeout_s: seconds within which all hosts must answer.

        Raises:
          HostFailed: a host cannot be reached, or does not take this leader.
        """
        self._timeout_s = timeout_s
        self._peers: dict[int, _Peer] = {}
        self._launched = 0  # steps that have not landed
        self._poll = select.poll()
        try:
            for rank, address in enumerate(hosts):
                self._connect(f"host {rank} ({address[0]}:{address[1]})", address, token)
        except BaseException:
            self.close()
            raise

    def launch(self, rows: Sequence[Row]) -> None:
        """Starts a step on every host, behind those launched before.

        Raises:
          HostFailed: a host failed in a step before.
        """
        with self._closed_by_failure():
            self._hear(0)  # a host that failed since then gets no plan
            plan = frame(encode(rows))
            for peer in self._peers.values():
                peer.send(plan)
                peer.owes += 1
            self._launched += 1

    def load_adapter(self, adapter: LoadAdapter) -> None:
        """Has every host take in an adapter that it has read, behind the steps launched before.

        Raises:
          HostFailed: a host is gone.
        """
        with self._closed_by_failure():
            message = frame(encode(adapter))
            for peer in self._peers.values():
                peer.send(message)

    def land(self) -> list[list[Token]]:
        """Waits for the oldest step that has not landed: each row's targets, then the tokens that it drew.

        Raises:
          HostFailed: a host failed, or did not answer in time, in this step or in the one before.
        """
        with self._closed_by_failure():
            deadline = time.monotonic() + self._timeout_s
            first, *others = self._peers.values()
            while not first.tokens or any(peer.owes > self._launched for peer in others):
                if not self._hear(deadline - time.monotonic()):
                    silent = ", ".join(peer.name for peer in self._peers.values() if peer.owes)
                    raise HostFailed(f"{silent}: no answer to a step for {self._timeout_s:g} s")
            self._launched -= 1
            self.recompilations = sum(peer.recompilations for peer in self._peers.values())
            return first.tokens.popleft()

    def close(self) -> None:
        """Breaks off; every host then stops following."""
        for peer in self._peers.values():
            peer.connection.close()
        self._peers.clear()

    def _connect(self, name: str, address: Address, token: bytes) -> None:
        try:
            connection = socket.create_connection(address, self._timeout_s)
            peer = self._peers[connection.fileno()] = _Peer(name, connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(token)
            if not isinstance(heard := decode_from_host(peer.frames.receive()), Ready):
                raise ConnectionError(f"it said {heard}")
        except (OSError, msgspec.MsgspecError) as error:
            raise HostFailed(f"{name} does not take this leader: {error}") from error
        self._poll.register(connection, select.POLLIN)

    @contextmanager
    def _closed_by_failure(self) -> Iterator[None]:
        if not self._peers:
            raise HostFailed("the channel to the hosts is closed")
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _hear(self, timeout_s: float) -> bool:
        """Waits until answers have arrived, and takes them; returns whether any did in time."""
        ready = self._poll.poll(max(0.0, timeout_s) * 1e3)
        for fd, _ in ready:
            self._peers[fd].hear()
        return bool(ready)


class _Peer:
    """A host, as its leader sees it.

    Attributes:
      owes: plans that it has not answered.
      recompilations: as of its last answer.
      tokens: of its answers that were not taken yet; only the first host answers with tokens.
    """

    def __init__(self, name: str, connection: socket.socket) -> None:
        self.name = name
        self.connection = connection
        self.frames = Frames(connection)
        self.owes = 0
        self.recompilations = 0
        self.tokens: deque[list[list[Token]]] = deque()

    def send(self, message: bytes) -> None:
        try:
            self.connection.sendall(message)
        except OSError as error:
            raise HostFailed(f"{self.name} takes no plan: {error}") from error

    def hear(self) -> None:
        """Takes the answers that have arrived, at least one."""
        while True:
            try:
                heard = decode_from_host(self.frames.receive())
            except (OSError, msgspec.MsgspecError) as error:
                raise HostFailed(f"{self.name} broke off: {error}") from error
            if isinstance(heard, Failure):
                raise HostFailed(f"{self.name} failed in a step: {heard.error}")
            assert isinstance(heard, Landed)
            self.owes -= 1
            self.recompilations = heard.recompilations
            if heard.tokens:
                self.tokens.append(heard.tokens)
            if not self.frames.unread:
                return


class HostChannel:
    """A host's end: listens for the leader, then follows its plans."""

    def __init__(self, ip: str, token: bytes) -> None:
        """Listens on a free port of `ip`; `token` is the group's."""
        self._token = token
        self._listener = socket.create_server((ip, 0))

    @property
    def address(self) -> Address:
        """Where the leader connects."""
        ip, port = self._listener.getsockname()[:2]
        return ip, port

    def follow(
        self,
        runner: StepRunner,
        *,
        answers_tokens: bool,
        load_adapter: Callable[[LoadAdapter], None] | None = None,
    ) -> None:
        """Waits for the leader, and runs its steps until it breaks off.

        Args:
          runner: what to run them on. When it raises, the leader receives the error, and so does the caller.
          answers_tokens: whether to send the tokens too.
          load_adapter: takes in an adapter, behind the steps launched before; None for a model without any.
        """
        with self._accept() as leader, ThreadPoolExecutor(1, "land") as pool:
            frames = Frames(leader)
            _send(leader, Ready())
            launched: SimpleQueue[bool] = SimpleQueue()
            landing = pool.submit(_land, leader, runner, launched, answers_tokens)
            try:
                while True:
                    try:
                        message = frames.receive()
                    except ConnectionError:
                        break
                    with _failures_sent(leader):
                        match decode_from_leader(message):
                            case LoadAdapter() as adapter:
                                assert load_adapter is not None, "a leader knows whether the model has adapters"
                                load_adapter(adapter)
                            case rows:
                                runner.launch(rows)
                                launched.put(True)
            finally:
                launched.put(False)
            landing.result()

    def _accept(self) -> socket.socket:
        """Returns the first connection that shows the token; all others are closed."""
        with self._listener:
            while True:
                connection, _ = self._listener.accept()
                if _shows(connection, self._token):
                    connection.settimeout(None)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return connection
                connection.close()


def _land(leader: socket.socket, runner: StepRunner, launched: SimpleQueue[bool], answers_tokens: bool) -> None:
    """Lands each step that was launched, in a thread of its own: the next one is to be launched before that."""
    while launched.get():
        with _failures_sent(leader):
            tokens = runner.land()
        with suppress(ConnectionError):  # a leader that has broken off needs no answer
            _send(leader, Landed(runner.recompilations, tokens if answers_tokens else []))


@contextmanager
def _failures_sent(leader: socket.socket) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        with suppress(OSError):
            _send(leader, Failure(f"{type(error).__name__}: {error}"))
            leader.shutdown(socket.SHUT_RD)  # so that no plan is awaited any more
        raise


def _shows(connection: socket.socket, token: bytes) -> bool:
    deadline = time.monotonic() + _HANDSHAKE_S
    shown = b""
    with suppress(OSError):
        while len(shown) < len(token):
            connection.settimeout(max(1e-3, deadline - time.monotonic()))
            shown += receive_some(connection, len(token) - len(shown))
    return hmac.compare_digest(shown, token)


def _send(leader: socket.socket, message: Ready | Landed | Failure) -> None:
    leader.sendall(frame(encode(message)))
