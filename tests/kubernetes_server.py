"""Serves a Kubernetes API in memory to whatever speaks HTTP."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import kmock


@contextmanager
def serve(api: kmock.KubernetesEmulator) -> Iterator[str]:
    """Serves an API on loopback, in a thread of its own. Yields its URL."""
    started, stop = threading.Event(), threading.Event()
    where: list[str] = []

    async def run() -> None:
        async with api, kmock.Server(api) as server:
            where.append(str(server.url).rstrip("/"))
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    started.wait()
    try:
        yield where[0]
    finally:
        stop.set()
        thread.join()
