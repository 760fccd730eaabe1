"""Large bodies and messages: as large as they may be, larger, and full of the smallest parts there are."""

from collections.abc import Callable
from random import Random

from tests.abuse.attack import Attack
from tests.abuse.grpc_messages import CODE_ASSIST, CallAttack, field
from tests.abuse.http_attack import HttpAttack, request
from tests.abuse.target import Door

_FAR_TOO_LARGE = 65 * 2**20
_HEADERS = b"content-type: application/json\r\n"
_COMPLETE, _CHAT = "/v1/completions", "/v1/chat/completions"
_LISTS: tuple[tuple[str, str, bytes, tuple[bytes, ...], bytes], ...] = (
    (_COMPLETE, "stop", b'{"prompt":"a","max_tokens":1,"stop":[', (b"1", b'"a"', b'""', b"{}", b"null"), b"]}"),
    (_COMPLETE, "prompt", b'{"max_tokens":1,"prompt":[', (b"1", b'"a"', b"[]", b"[1]", b"{}", b"1e5"), b"]}"),
    (_COMPLETE, "prompt, its last wrong", b'{"prompt":[', (b"1", b'"a"', b"[1]"), b',"a",1]}'),
    (_COMPLETE, "tools", b'{"prompt":"a","tools":[', (b"1", b"{}", b"[]"), b"]}"),
    (_COMPLETE, "an unknown field", b'{"prompt":"a","max_tokens":1,"x":[', (b"1", b"{}", b"[]", b"1.5"), b"]}"),
    (_COMPLETE, "keys", b'{"prompt":"a","max_tokens":1', (b'"a":1', b'"stop":1'), b"}"),
    (_CHAT, "messages", b'{"max_tokens":1,"messages":[', (b"{}", b"1", b'{"role":"user","content":""}'), b"]}"),
    (
        _CHAT,
        "content",
        b'{"messages":[{"role":"user","content":[',
        (b"0", b"{}", b'{"type":"text","text":""}'),
        b"]}]}",
    ),
)
_TEXTS = (b"a", b"ab ", b"\\n", b"\\u00e9", "\N{PILE OF POO}".encode(), b"\\ud800", b"   ", b"\xe2\x96\x81", b"<eos>")
_MESSAGES: tuple[tuple[str, str, Callable[[int], bytes]], ...] = (
    ("Complete", "a prompt", lambda size: field(3, b"a" * size)),
    ("Complete", "spaces", lambda size: field(3, b" " * size)),
    ("StreamComplete", "a field that nobody knows", lambda size: field(1000, b"a" * size)),
    ("CountTokens", "a prefix", lambda size: field(2, field(1, b"ab" * (size // 2)))),
    ("CountTokens", "context files", lambda size: field(2, field(4, b"") * (size // 2) + field(1, b"a"))),
    ("Complete", "context files", lambda size: field(2, field(4, field(1, b"a")) * (size // 5) + field(1, b"a"))),
    ("CountTokens", "token ids", lambda size: field(4, field(1, b"\2" * size))),
    ("Complete", "token ids, each a field", lambda size: field(4, b"\x08\2" * (size // 2))),
    ("Complete", "inputs, one after another", lambda size: field(3, b"a") * (size // 3)),
    ("Complete", "inputs of two kinds", lambda size: (field(3, b"a") + field(2, b"")) * (size // 5)),
    ("Chat", "turns", lambda size: (b"\x12\2\x08\2\x12\2\x08\3" * (size // 8)) + b"\x12\2\x08\2"),
    ("Chat", "turns without a role", lambda size: field(2, b"") * (size // 2)),
    ("CountTokens", "turns", lambda size: field(5, (b"\x0a\2\x08\2\x0a\2\x08\3" * (size // 8)) + b"\x0a\2\x08\2")),
    ("Complete", "stop texts", lambda size: field(3, b"a") + field(5, field(6, b"") * (size // 2))),
    ("Complete", "one stop text", lambda size: field(3, b"a") + field(5, field(6, b"a" * size))),
    ("Complete", "settings, one after another", lambda size: field(3, b"a") + field(5, b"\x08\1") * (size // 4)),
    ("Complete", "a session", lambda size: field(3, b"a") + field(7, b"a" * size)),
    ("Complete", "a request id", lambda size: field(3, b"a") + field(8, b"a" * size)),
    ("Complete", "a model", lambda size: field(3, b"a") + field(1, b"a" * size)),
)


def large(draw: Random, max_bytes: int) -> Attack:
    """A body or message of about the largest size that is allowed, or far beyond.

    Args:
      draw: chooses.
      max_bytes: the limit of the service.
    """
    size = max_bytes + draw.choice((-1, 0, 1, -200, -max_bytes // 2, _FAR_TOO_LARGE))
    return draw.choice((_list, _list, _text, _chunked, _message, _message, _message))(draw, size)


def _list(draw: Random, size: int) -> Attack:
    path, about, begin, items, end = draw.choice(_LISTS)
    item = draw.choice(items)
    count = (size - len(begin) - len(end)) // (len(item) + 1)
    start = begin + b"," if about == "keys" else begin
    return _body(path, f"{count} times {item!r} as {about}", start + b",".join([item] * count) + end)


def _text(draw: Random, size: int) -> Attack:
    text = draw.choice(_TEXTS)
    path, begin, end = draw.choice(
        (
            (_COMPLETE, b'{"max_tokens":1,"prompt":"', b'"}'),
            (_COMPLETE, b'{"max_tokens":1,"prompt":"a","suffix":"', b'"}'),
            (_COMPLETE, b'{"max_tokens":1,"prompt":"a","stop":"', b'"}'),
            (_COMPLETE, b'{"max_tokens":1,"prompt":"a","model":"', b'"}'),
            (_COMPLETE, b'{"max_tokens":1,"prompt":"a","user":"', b'"}'),
            (_COMPLETE, b'{"max_tokens":1,"prompt":"a","n":', b"1}"),
            (_CHAT, b'{"max_tokens":1,"messages":[{"role":"user","content":"', b'"}]}'),
            (_CHAT, b'{"max_tokens":1,"messages":[{"role":"', b'"}]}'),
        )
    )
    text = b"1" if end == b"1}" else text
    count = (size - len(begin) - len(end)) // len(text)
    return _body(path, f"{count} times {text!r} in {begin[-30:]!r}", begin + text * count + end)


def _chunked(draw: Random, size: int) -> Attack:
    length = draw.choice((100, 4096, 65536))
    chunk = b"%x\r\n%b\r\n" % (length, b" " * length)
    body = chunk * (size // length) + b"0\r\n\r\n"
    data = request(_COMPLETE, body, _HEADERS + b"transfer-encoding: chunked\r\n", length=False)
    return HttpAttack(f"{size} bytes in chunks of {length}", data, _door(draw), must_answer=True)


def _message(draw: Random, size: int) -> Attack:
    method, about, fill = draw.choice(_MESSAGES)
    data = fill(size)
    door = draw.choices((Door.GRPC, Door.DIRECT_GRPC), (4, 1))[0]
    return CallAttack(f"{method}: {len(data)} bytes of {about}", f"{CODE_ASSIST}/{method}", data, door=door)


def _body(path: str, about: str, body: bytes) -> Attack:
    return HttpAttack(f"{len(body)} bytes: {about}", request(path, body, _HEADERS), must_answer=True)


def _door(draw: Random) -> Door:
    return draw.choices((Door.HTTP, Door.DIRECT_HTTP), (4, 1))[0]
