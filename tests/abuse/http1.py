"""Raw HTTP/1 for HAProxy: requests whose lines, headers, lengths and order are not what they should be.

A Gateway's own port gets headers alone: its guard looks at those, and its parser says in plain text what else is wrong.
"""

from collections.abc import Callable
from random import Random

from tests.abuse.attack import Attack
from tests.abuse.http_attack import HttpAttack, request
from tests.abuse.target import Door

_BODY = b'{"prompt": "a", "max_tokens": 1}'
_POST = b"POST /v1/completions HTTP/1.1\r\nhost: service\r\nconnection: close\r\n"
_NAMES = (
    b"x-request-id",
    b"x-session-id",
    b"x-tenant-id",
    b"x-api-key",
    b"authorization",
    b"traceparent",
    b"tracestate",
    b"serve_multiplexed_model_id",
    b"serve-multiplexed-model-id",
    b"x-request-timeout-seconds",
    b"x-request-disconnect-disabled",
    b"x-serve-session-id",
    b"session_id",
    b"application",
    b"x-forwarded-for",
    b"forwarded",
    b"cookie",
    b"accept-encoding",
    b"content-encoding",
    b"content-type",
    b"expect",
    b"range",
    b"te",
    b"x",
)
_VALUES = (
    b"",
    b"\xff\xfe",
    b"caf\xe9",
    b"\x80" * 40,
    b"0.05",
    b"-1",
    b"nan",
    b"1e999",
    b"0",
    b"?1",
    b"a\tb",
    b"[]{}",
    b"a" * 3000,
)


def raw_http1(draw: Random) -> Attack:
    """A request that is wrong in one way, or only unusual."""
    return draw.choice(_KINDS)(draw)


def odd_bytes(draw: Random, most: int = 60) -> bytes:
    """Bytes of which some end lines, some are no ASCII, and some control terminals."""
    pools = (bytes(range(0x80, 0x100)), bytes(range(0x20)), b"\r\n\0 \t:", bytes(range(0x21, 0x7F)))
    return bytes(draw.choice(draw.choice(pools)) for _ in range(draw.randint(1, most)))


def _request_line(draw: Random) -> Attack:
    line = draw.choice(
        (
            odd_bytes(draw),
            b"GET",
            b"GET /health",
            b"GET  /health HTTP/1.1",
            b"GET\t/health\tHTTP/1.1",
            b"GET /health HTTP/"
            + draw.choice((b"0.9", b"1.9", b"2.0", b"9.9", b"1", b"1.1.1", b"-1.1", b"1.1 x", b"")),
            b"get /health http/1.1",
            b"GET /health FTP/1.1",
            b" GET /health HTTP/1.1",
            b"GET /health HTTP/1.1" + b" " * 2000,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1",
        )
    )
    end = draw.choice((b"\r\n", b"\n", b"\r", b"\r\n\r\n"))
    return HttpAttack("request line", line + end + b"host: a" + end + end)


def _method(draw: Random) -> Attack:
    method = draw.choice(
        (
            "GET",
            "PUT",
            "DELETE",
            "PATCH",
            "HEAD",
            "OPTIONS",
            "TRACE",
            "CONNECT",
            "PROPFIND",
            "M-SEARCH",
            "X" * 300,
            "g3T",
            "POST!",
        )
    )
    path = draw.choice(("/v1/completions", "/health", "/v1/models", "*", "/", "service:80", "/-/routes", "/-/healthz"))
    return HttpAttack(f"{method[:20]} {path}", request(path, method=method), method=method)


def _path(draw: Random) -> Attack:
    path = draw.choice(
        (
            b"/v1/models/" + odd_bytes(draw).replace(b" ", b"").replace(b"\r", b"").replace(b"\n", b""),
            b"/v1/models/%ff%fe",
            b"/v1/models/%00",
            b"/v1/models/" + b"a" * draw.choice((100, 5000, 70_000)),
            b"/v1/models/..%2f..%2fetc%2fpasswd",
            b"/../../etc/passwd",
            b"//v1//completions",
            b"/v1/completions/",
            b"http://other/v1/models",
            b"http://[::1/v1/models",
            b"https://user:pass@service:99999/v1/models?a#b",
            b"/v1/models?" + b"a=b&" * 3000,
            b"/v1/models/\xff",
            b"/\xc3\x28",
            b"/health;a=b",
            b"/health%",
            b"/health#x",
            b"/-/routes",
            b"/-/healthz",
            b"/docs",
            b"/openapi.json",
            b"/internal/route",
            b"\\health",
            b"health",
            b"?",
        )
    )
    return HttpAttack(f"path {path[:40]!r}", request(path, method="GET"))


def _header(draw: Random) -> Attack:
    name = draw.choice((*_NAMES, *_NAMES, odd_bytes(draw, 20), b"", b"a b", b"x:y", b"X" * 300))
    value = draw.choice((*_VALUES, odd_bytes(draw)))
    line = (
        name
        + draw.choice((b": ", b":", b" : ", b""))
        + value
        + draw.choice((b"\r\n", b"\r\n", b"\n", b"\r\n folded\r\n"))
    )
    return HttpAttack(f"header {name[:30]!r}: {value[:20]!r}", request("/v1/completions", _BODY, line))


def _named_header(draw: Random) -> Attack:
    """A header that the service or Ray Serve reads, with a value that HTTP allows: this one is a whole request."""
    name = draw.choice(_NAMES[:16])
    value = draw.choice(
        (b"\xff\xfe", b"caf\xe9", b"\x80" * 40, b"0.05", b"-1", b"nan", b"1e999", b"?1", b"[]", b"a" * 3000)
    )
    data = request("/v1/completions", _BODY, name + b": " + value + b"\r\n")
    door = draw.choices((Door.HTTP, Door.DIRECT_HTTP), (2, 1))[0]
    return HttpAttack(f"header {name!r}: {value[:20]!r}", data, door, must_answer=True)


def _many_headers(draw: Random) -> Attack:
    count, size = draw.choice(((90, 10), (150, 10), (2000, 10), (1, 9000), (1, 70_000), (20, 2000)))
    lines = b"".join(b"x-%d: %b\r\n" % (number, b"a" * size) for number in range(count))
    return HttpAttack(f"{count} headers of {size} bytes", request("/v1/completions", _BODY, lines))


def _length(draw: Random) -> Attack:
    values = (
        b"32",
        b"+32",
        b"-1",
        b"0x20",
        b"32,32",
        b"32, 33",
        b"9" * 30,
        b"",
        b"32 ",
        b"3 2",
        b"32.0",
        b"031",
        b"\xb2",
    )
    lines = [b"content-length: %b\r\n" % draw.choice(values) for _ in range(draw.randint(0, 2))]
    codings = (
        b"chunked",
        b"Chunked",
        b"identity",
        b"gzip, chunked",
        b"chunked, chunked",
        b"xchunked",
        b"\x0bchunked",
        b"chunked\x00",
        b"",
    )
    lines += [b"transfer-encoding: %b\r\n" % draw.choice(codings) for _ in range(draw.randint(0, 2))]
    draw.shuffle(lines)
    body = draw.choice(
        (_BODY, b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY), b"0\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n")
    )
    about = b"; ".join(line.strip() for line in lines).decode(errors="replace")
    return HttpAttack(f"lengths {about!r}", _POST + b"".join(lines) + b"\r\n" + body)


def _chunks(draw: Random) -> Attack:
    size = draw.choice(
        (
            b"20",
            b"0020",
            b"20;a=b",
            b"20 ",
            b" 20",
            b"0x20",
            b"-20",
            b"1f",
            b"21",
            b"ffffffffffffffff",
            b"",
            b"g",
            b"20" + b";" * 9000,
        )
    )
    end = draw.choice((b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n"))
    last = draw.choice(
        (b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0\n\n", b"", b"00000\r\n\r\n", b"0\r\n" + b"x: y\r\n" * 2000 + b"\r\n")
    )
    data = _POST + b"transfer-encoding: chunked\r\n\r\n" + size + b"\r\n" + _BODY + end + last
    return HttpAttack(f"chunk {size[:20]!r} {end!r} {last[:20]!r}", data)


def _pipeline(draw: Random) -> Attack:
    count = draw.choice((2, 5, 30))
    good = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"
    bad = draw.choice(
        (b"", b"\r\n", b"GET / HTTP/9.9\r\n\r\n", odd_bytes(draw) + b"\r\n\r\n", b"POST /v1/completions HTTP/1.1\r\n")
    )
    return HttpAttack(f"{count} in a row, then {bad[:20]!r}", good * count + bad, answers=count)


def _upgrade(draw: Random) -> Attack:
    lines = draw.choice(
        (
            b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
            b"connection: upgrade\r\nupgrade: websocket\r\n",
            b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
            b"connection: upgrade\r\nupgrade: \xff\r\n",
            b"expect: 100-continue\r\n",
            b"expect: 200-ok\r\n",
        )
    )
    path = draw.choice((b"/v1/completions", b"/health", b"/"))
    method = draw.choice((b"GET", b"POST"))
    body = _BODY if method == b"POST" else b""
    data = b"%b %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n%b\r\n%b" % (method, path, len(body), lines, body)
    return HttpAttack(f"upgrade {lines[:60]!r}", data)


def _cut(draw: Random) -> Attack:
    whole = request("/v1/completions", _BODY, b"content-type: application/json\r\nx-request-id: a\r\n")
    at = draw.randrange(1, len(whole))
    return HttpAttack(f"cut after {at} bytes", whole[:at])


def _damaged(draw: Random) -> Attack:
    data = bytearray(request("/v1/completions", _BODY, b"content-type: application/json\r\nx-request-id: a\r\n"))
    for _ in range(draw.randint(1, 3)):
        data[draw.randrange(len(data) - len(_BODY))] = draw.randrange(256)
    return HttpAttack("bytes changed", bytes(data))


_KINDS: tuple[Callable[[Random], Attack], ...] = (
    _request_line,
    _method,
    _path,
    _header,
    _named_header,
    _named_header,
    _many_headers,
    _length,
    _chunks,
    _pipeline,
    _upgrade,
    _cut,
    _damaged,
)
