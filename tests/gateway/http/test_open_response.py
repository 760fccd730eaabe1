"""Who reads a page slowly, without a key, takes little memory and keeps nobody else waiting."""

import asyncio

from starlette.types import Message

from serving.gateway.http.open_response import PIECE, OpenResponse
from serving.servers.places import Places

CONTENT = bytes(range(256)) * 1000


class Reader:
    """A client that reads so many pieces and then nothing."""

    def __init__(self, pieces: int) -> None:
        self.read: list[bytes] = []
        self.started = asyncio.Event()
        self._pieces = pieces

    async def receive(self) -> Message:
        raise AssertionError

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started.set()
            return
        if len(self.read) == self._pieces:
            await asyncio.Event().wait()
        self.read.append(message["body"])
        self.complete = not message.get("more_body", False)


def reading(reader: Reader, places: Places) -> asyncio.Task[None]:
    response = OpenResponse(places, CONTENT, media_type="text/javascript")
    return asyncio.create_task(response({"type": "http", "method": "GET"}, reader.receive, reader.send))


async def test_a_response_leaves_in_pieces() -> None:
    reader = Reader(100)
    await reading(reader, Places(1))
    assert reader.complete
    assert b"".join(reader.read) == CONTENT
    assert max(map(len, reader.read)) <= PIECE < len(CONTENT)


async def test_who_reads_slowly_makes_room_for_who_comes() -> None:
    places, slow, quick = Places(1), Reader(1), Reader(100)
    reading_slowly = reading(slow, places)
    await slow.started.wait()
    await reading(quick, places)
    assert quick.complete
    await reading_slowly
    assert not slow.complete
