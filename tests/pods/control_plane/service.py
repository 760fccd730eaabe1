"""A Service: an address in front of the pods that it selects.

As kube-proxy was at first, a program that hands each connection on; so a connection stays with its pod, and new ones go
to pods that are ready. Where all are about to end, it takes those that still answer (KEP-1669).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from tests.helm.chart import Object
from tests.pods.node.network import HOST

_SPREADS_S = 2.0
"""Until every node knows of a change of the endpoints."""
_BLOCK = 65536


class Backend(Protocol):
    """What a Service sees of a pod."""

    @property
    def ip(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def ready(self) -> bool: ...
    @property
    def terminating(self) -> bool: ...


def endpoints(pods: Iterable[Backend], selector: Mapping[str, str]) -> list[str]:
    """Where new connections go: to pods that are ready, and to those that are about to end if there are no others."""
    ready = [pod for pod in pods if pod.ready and selector.items() <= pod.labels.items()]
    return [pod.ip for pod in ready if not pod.terminating] or [pod.ip for pod in ready]


class Service:
    """One port of a Service.

    Attributes:
      address: HOST:PORT, where it listens.
      endpoints: addresses of the pods that new connections go to.
    """

    def __init__(self, resource: Object, pods: Callable[[], Iterable[Backend]]) -> None:
        """For these pods, as they are at any time."""
        (port,) = resource["spec"]["ports"]
        self._port: int = port["port"]
        self._target: int = port["targetPort"]
        self._selector: dict[str, str] = resource["spec"]["selector"]
        self._pods = pods
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = f"{HOST}:{self._port}"
        self.endpoints: list[str] = []

    @asynccontextmanager
    async def serves(self) -> AsyncIterator[None]:
        """Listens for as long as this lasts."""
        server = await asyncio.start_server(self._accept, HOST, self._port)
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            server.close()
            for task in (watch, *self._tasks):
                task.cancel()
            await asyncio.gather(watch, *self._tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            now = endpoints(self._pods(), self._selector)
            await asyncio.sleep(_SPREADS_S)
            self.endpoints = now

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.endpoints:
                writer.transport.abort()  # as the rule that refuses connections to a Service without endpoints
                return
            there, back = await asyncio.open_connection(random.choice(self.endpoints), self._target)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back))
                group.create_task(_copy(there, writer))
        finally:
            writer.close()
            back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hands on what comes, and then the end of it."""
    with suppress(OSError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
