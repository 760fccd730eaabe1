"""A TCP connection that sends anything, and hears what comes back for as long as something may come."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.abuse.target import HOST

_ANSWER_S = 90.0
"""Some inputs are valid, and ask a machine that may be busy for as many tokens as there is context for."""
_SILENCE_S = 1.0
_MAX_ANSWER = 16 * 2**20


@dataclass(frozen=True)
class Heard:
    """What the service said.

    Attributes:
      data: all its bytes.
      refused: nothing listens there any more.
      silent: nothing came in time, and the input was one that must be answered.
    """

    data: bytes
    refused: bool
    silent: bool
    seconds: float


async def exchange(
    port: int, data: bytes, *, must_answer: Callable[[bytes], bool], is_whole: Callable[[bytes], bool]
) -> Heard:
    """Sends bytes and reads the answer.

    Args:
      port: of the loopback interface.
      data: sent as it is. The service may answer and close before it has read everything.
      must_answer: whether, after so much of an answer, the rest has to come: it is waited for. What is not a whole
        request may well wait for the rest of it.
      is_whole: whether an answer is complete, though the connection is open.
    """
    started = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return Heard(b"", refused=True, silent=False, seconds=0.0)
    heard = bytearray()
    closed = False

    async def send() -> None:
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        while not is_whole(bytes(heard)) and len(heard) < _MAX_ANSWER:
            patience = _ANSWER_S if must_answer(bytes(heard)) else _SILENCE_S
            part = await asyncio.wait_for(reader.read(65536), patience)
            if not part:
                closed = True
                break
            heard += part
    except TimeoutError:
        pass
    except OSError:
        closed = True
    finally:
        sending.cancel()
        writer.transport.abort()
        await asyncio.gather(sending, return_exceptions=True)
    whole = closed or is_whole(bytes(heard))
    return Heard(bytes(heard), False, must_answer(bytes(heard)) and not whole, time.monotonic() - started)
