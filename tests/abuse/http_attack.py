"""An HTTP/1 input: bytes, and the answers that come back."""

from dataclasses import dataclass
from http.client import HTTPException

from tests.abuse.checks import http_answers, http_faults
from tests.abuse.connection import exchange
from tests.abuse.target import Door, Target


@dataclass(frozen=True)
class HttpAttack:
    """Bytes for a port where HTTP/1 is spoken.

    Attributes:
      must_answer: they are a whole request; otherwise the service may wait for more, or close.
      method: of the request, where the answer's form depends on it.
      answers: how many there will be.
    """

    about: str
    data: bytes
    door: Door = Door.HTTP
    must_answer: bool = False
    method: str | None = None
    answers: int = 1

    async def faults(self, target: Target) -> list[str]:
        """As `Attack.faults`."""
        if self.door not in target.ports:
            return []
        heard = await exchange(
            target.ports[self.door],
            self.data,
            must_answer=lambda heard: self.must_answer or bool(heard),
            is_whole=self._is_whole,
        )
        if heard.refused:
            return [f"nothing listens at {self.door}"]
        if heard.silent:
            return [f"no answer within {heard.seconds:.0f} s, after {heard.data[:200]!r}"]
        if self.must_answer and not heard.data:
            return ["the connection was closed without an answer"]
        return http_faults(heard.data, self.data, self.method)

    def _is_whole(self, data: bytes) -> bool:
        try:
            return len(list(http_answers(data, self.method))) >= self.answers
        except (HTTPException, ValueError):
            return False


def request(
    path: str | bytes, body: bytes = b"", headers: bytes = b"", method: str = "POST", length: bool = True
) -> bytes:
    """A request that closes its connection."""
    path = path.encode() if isinstance(path, str) else path
    sized = b"content-length: %d\r\n" % len(body) if length else b""
    return (
        b"%b %b HTTP/1.1\r\nhost: service\r\nconnection: close\r\n" % (method.encode(), path) + sized
        + headers + b"\r\n" + body
    )  # fmt: skip
