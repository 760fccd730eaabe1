"""Streams: headers and signs of life before the first piece, and failures before and after the headers."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable

import pytest
from starlette.responses import Response
from starlette.types import Message

from serving.errors import Reason, ServingError
from serving.gateway.http.answer import StreamedAnswer
from serving.gateway.http.framing import NDJSON, SSE
from serving.gateway.http.stream import StreamResponse
from serving.gateway.http.times import HttpTimes
from serving.gateway.request import AnswerPart, Piece

AT_ONCE = HttpTimes(headers_s=0, sign_of_life_s=0)
NEVER = HttpTimes(headers_s=math.inf)
LOST = ServingError(Reason.UNAVAILABLE, "Lost.")


class Lines(StreamedAnswer):
    """Writes texts as they are."""

    framing = SSE

    def piece(self, part: AnswerPart) -> bytes:
        return part.text.encode() if isinstance(part, Piece) else b""

    def end(self) -> bytes:
        return b"END"

    def error(self, error: ServingError) -> bytes:
        return f"ERROR {error.message}".encode()


class SilentLines(Lines):
    framing = NDJSON


class Client:
    """The other end of a connection.

    Attributes:
      status: of the response, once that has begun.
      sent: the parts of its body.
      gone: closes the connection when set.
    """

    def __init__(self, seen: Callable[["Client"], None] = lambda client: None) -> None:
        """Calls `seen` whenever something has been sent."""
        self.status: int | None = None
        self.sent: list[bytes] = []
        self.gone = asyncio.Event()
        self._seen = seen

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.sent.append(message["body"])
        self._seen(self)


class Pieces:
    """An answer that waits, before its first piece, until it is let go.

    Attributes:
      closed: whether nobody asks for pieces any more.
    """

    def __init__(self, *pieces: str, error: Exception | None = None) -> None:
        self.go = asyncio.Event()
        self.closed = False
        self._pieces = pieces
        self._error = error

    async def chunks(self) -> AsyncGenerator[AnswerPart, None]:
        try:
            await self.go.wait()
            for text in self._pieces:
                yield Piece(text=text)
            if self._error:
                raise self._error
        finally:
            self.closed = True


def told(error: Exception) -> ServingError:
    return error if isinstance(error, ServingError) else ServingError(Reason.INTERNAL, "It failed.")


def refusal(error: ServingError) -> Response:
    return Response(error.message, error.wire.http_status)


async def respond(client: Client, pieces: Pieces, times: HttpTimes, answer: type[Lines] = Lines) -> None:
    response = StreamResponse(pieces.chunks(), answer(), told, refusal, times)
    await response({"type": "http"}, client.receive, client.send)
    assert pieces.closed


async def test_a_stream_that_waits_sends_headers_and_signs_of_life_until_its_first_piece() -> None:
    pieces = Pieces("a", "b")
    client = Client(lambda client: pieces.go.set() if len(client.sent) == 3 else None)
    await respond(client, pieces, AT_ONCE)
    assert client.status == 200
    first = client.sent.index(b"a")
    assert first >= 3
    assert set(client.sent[:first]) == {b":\n\n"}
    assert client.sent[first:] == [b"a", b"b", b"END"]


async def test_a_format_without_a_sign_of_life_sends_its_headers_alone() -> None:
    pieces = Pieces("a")
    client = Client(lambda client: pieces.go.set())  # by the headers
    await respond(client, pieces, AT_ONCE, SilentLines)
    assert (client.status, client.sent) == (200, [b"a", b"END"])


async def test_a_stream_that_does_not_wait_has_no_signs_of_life() -> None:
    pieces, client = Pieces("a", "b"), Client()
    pieces.go.set()
    await respond(client, pieces, NEVER)
    assert (client.status, client.sent) == (200, [b"a", b"b", b"END"])


@pytest.mark.parametrize(("error", "status"), [(LOST, 503), (RuntimeError("secret"), 500)])
async def test_what_fails_before_the_headers_has_the_status_of_its_error(error: Exception, status: int) -> None:
    pieces, client = Pieces(error=error), Client()
    pieces.go.set()
    await respond(client, pieces, NEVER)
    assert (client.status, client.sent) == (status, [told(error).message.encode()])


@pytest.mark.parametrize("error", [LOST, RuntimeError("secret")])
async def test_what_fails_after_the_headers_and_before_the_first_piece_is_the_last_event(error: Exception) -> None:
    pieces = Pieces(error=error)
    client = Client(lambda client: pieces.go.set())  # by the headers
    await respond(client, pieces, AT_ONCE)
    assert client.status == 200
    assert client.sent[-1] == f"ERROR {told(error).message}".encode()
    assert b"END" not in client.sent


@pytest.mark.parametrize("times", [AT_ONCE, NEVER])
async def test_a_client_that_leaves_before_the_first_piece_ends_the_generation(times: HttpTimes) -> None:
    pieces = Pieces("a")
    client = Client()
    responding = asyncio.create_task(respond(client, pieces, times))
    await asyncio.sleep(0)
    client.gone.set()
    await responding
    assert b"a" not in client.sent


async def test_an_answer_without_pieces_has_its_end() -> None:
    pieces, client = Pieces(), Client()
    pieces.go.set()
    await respond(client, pieces, NEVER)
    assert (client.status, client.sent) == (200, [b"END"])


def test_headers_come_within_a_second_and_a_sign_of_life_every_few() -> None:
    times = HttpTimes()
    assert times.headers_s <= 1
    assert times.sign_of_life_s <= 10
