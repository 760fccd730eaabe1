"""Connections that are opened and left alone."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.abuse.target import HOST

_BESIDE = 1000
"""File descriptors that a process needs for other things."""
_AT_ONCE = 500


def allow(connections: int) -> None:
    """Has this process, and those that it starts from now on, open so many; skips the test where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _BESIDE
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files; `ulimit -Hn` is {hard}")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@asynccontextmanager
async def idle_connections(port: int, number: int, opening: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many to a port for as long as the block runs; each sends `opening`, and nothing more."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def connection() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with gate:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(opening)
            return reader, writer

    opened = await asyncio.gather(*(connection() for _ in range(number)))
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.transport.abort()
