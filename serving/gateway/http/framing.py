"""How the parts of a stream are separated: server-sent events, and JSON by lines.

Formats: https://html.spec.whatwg.org/multipage/server-sent-events.html, https://github.com/ndjson/ndjson-spec.
"""

from typing import NamedTuple

from serving.gateway.http.json_text import one_line_json


class Framing(NamedTuple):
    """A kind of stream.

    Attributes:
      media_type: its content type.
      sign_of_life: what clients skip; empty where there is nothing like it.
    """

    media_type: str
    sign_of_life: bytes = b""


SSE = Framing("text/event-stream", b":\n\n")
NDJSON = Framing("application/x-ndjson")


def sse_event(content: object, name: str = "") -> bytes:
    """An event with JSON as its data, and with a name if it has one."""
    head = f"event: {name}\n".encode() if name else b""
    return b"%bdata: %b\n\n" % (head, one_line_json(content))


def sse_done() -> bytes:
    """The event with which OpenAI ends streams."""
    return b"data: [DONE]\n\n"


def ndjson_line(content: object) -> bytes:
    """JSON as a line."""
    return one_line_json(content) + b"\n"
