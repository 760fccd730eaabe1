"""The HTTP servers that Ray Serve starts in Gateways and proxies, made fit for clients that do not finish.

uvicorn waits without a limit for a connection's first request and for the rest of any request's headers. Behind HAProxy
these servers listen wherever the service does, and one without a file descriptor left cannot answer.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.servers.joined_writes import JoinedWrites

HEADERS_S = 10.0
"""As long as HAProxy waits for the headers of a request, and for the first byte of a connection."""


_NO_FILES = "socket.accept() out of system resource"
_LOG_EVERY_S = 60.0


def harden() -> None:
    """Every uvicorn server that is configured from now on in this process has `TimelyHttp` connections."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{TimelyHttp.__name__}"
    logging.getLogger("asyncio").addFilter(_SELDOM)


class SeldomOutOfFiles(logging.Filter):
    """Lets asyncio say once a minute that no file descriptor is left; it would say so thousands of times a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next_at = -float("inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        if not record.getMessage().startswith(_NO_FILES):
            return True
        now = self._clock()
        if now < self._next_at:
            return False
        self._next_at = now + _LOG_EVERY_S
        return True


_SELDOM = SeldomOutOfFiles()
"""One, as a filter that is added again is not there twice."""


class TimelyHttp(HttpToolsProtocol):
    """A connection that ends if the headers of a request are not complete in time."""

    headers_s = HEADERS_S
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Waits for the first request."""
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type] # it has a Transport's methods
        self._overdue = self.loop.call_later(self.headers_s, transport.close)

    def data_received(self, data: bytes) -> None:
        """Waits for the rest of the headers, should this be the beginning of a request."""
        if self._overdue is None and (self.cycle is None or self.cycle.response_complete):
            self._overdue = self.loop.call_later(self.headers_s, self.transport.close)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Waits no more: what comes next is the body, of which the application knows."""
        self._cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Keeps nothing of a connection that is gone."""
        self._cancel()
        super().connection_lost(exc)

    def _cancel(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
