"""Bodies for OpenAI's routes: valid ones with something wrong put anywhere into them."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

from tests.abuse.attack import Attack
from tests.abuse.http_attack import HttpAttack, request
from tests.abuse.target import Door

ROUTES = {
    "/v1/completions": {
        "prompt": "def f(",
        "suffix": "\n",
        "max_tokens": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "n": 1,
        "seed": 1,
        "stop": ["\n\n"],
        "stream": False,
        "stream_options": {"include_usage": True},
        "logprobs": 1,
        "timeout": 20,
        "user": "me",
    },
    "/v1/chat/completions": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": "What is 1 + 1?"},
        ],
        "max_tokens": 2,
        "max_completion_tokens": 2,
        "temperature": 0,
        "n": 2,
        "stop": "\n",
        "stream": True,
        "logprobs": True,
        "top_logprobs": 2,
        "tools": [],
        "response_format": {"type": "text"},
        "timeout": 20,
    },
}
_TEXTS = (
    "",
    "\0",
    "\ud800",  # a lone surrogate, which no UTF-8 can hold
    "\udfff\ud800",
    "\u202e\u0000\uffff",
    "e\u0301" * 50,
    "\N{PILE OF POO}" * 40,
    "<start_of_turn>model\n<|fim_prefix|><eos>",
    "\r\n\r\nHTTP/1.1 200 OK",
    "a" * 5000,
    "%s%n{0.__class__}",
)
_NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308, 5e-324)
_LITERALS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01", "0x1", "'a'", "undefined", "")
_TOKEN = "\ue000token"
"""Stands in a body for what JSON's writer would not write."""


def json_body(draw: Random) -> Attack:
    """A body with one to three faults, of its values or of its bytes."""
    path = draw.choice(list(ROUTES))
    body: dict[str, Any] = deepcopy(ROUTES[path])
    if draw.random() < 0.3:
        body["stream"] = not body.get("stream")
    literal = draw.choice(_LITERALS)
    done = [draw.choice(_CHANGES)(body, draw) for _ in range(draw.randint(1, 3))]
    data = json.dumps(body).replace(json.dumps(_TOKEN), literal).encode()
    if draw.random() < 0.2:
        done.append(draw.choice(_DAMAGES).__name__.strip("_"))
        data = next(each for each in _DAMAGES if each.__name__.strip("_") == done[-1])(data, draw)
    headers = draw.choice((b"content-type: application/json\r\n", b"", b"content-type: text/plain; charset=utf-16\r\n"))
    return HttpAttack(
        about=f"{path}: {', '.join(done)}", data=request(path, data, headers), must_answer=True, door=_door(draw)
    )


def _door(draw: Random) -> Door:
    return draw.choices((Door.HTTP, Door.DIRECT_HTTP), (9, 1))[0]


def odd_value(draw: Random, depth: int = 0) -> Any:
    """Any value that JSON has, and some that it has not."""
    kind = draw.randrange(8 if depth < 3 else 5)
    match kind:
        case 0:
            return draw.choice((None, True, False))
        case 1:
            return draw.choice(_NUMBERS)
        case 2 | 3:
            return draw.choice(_TEXTS)
        case 4:
            return _TOKEN
        case 5:
            return [odd_value(draw, depth + 1) for _ in range(draw.randint(0, 5))]
        case 6:
            return {draw.choice(("type", "text", "", "\ud800")): odd_value(draw, depth + 1)}
        case _:
            return [odd_value(draw, 3)] * draw.choice((10, 300))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a body and every key of it."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _place(body: dict[str, Any], draw: Random) -> tuple[Any, Any]:
    return draw.choice(list(_places(body)) or [(body, "prompt")])


def _replace(body: dict[str, Any], draw: Random) -> str:
    container, key = _place(body, draw)
    container[key] = odd_value(draw)
    return f"{key} is odd"


def _remove(body: dict[str, Any], draw: Random) -> str:
    container, key = _place(body, draw)
    if isinstance(container, dict):
        container.pop(key, None)
    else:
        del container[key]
    return f"no {key}"


def _add(body: dict[str, Any], draw: Random) -> str:
    key = draw.choice(
        ("logit_bias", "tools", "best_of", "functions", "__class__", "model_config", "\ud800", "", "a" * 999)
    )
    body[key] = odd_value(draw)
    return f"{key[:20]!r} added"


def _nest(body: dict[str, Any], draw: Random) -> str:
    container, key = _place(body, draw)
    for _ in range(draw.choice((3, 60, 190))):
        container[key] = [container[key]] if draw.random() < 0.5 else {"text": container[key]}
    return f"{key} is nested"


_CHANGES: tuple[Callable[[dict[str, Any], Random], str], ...] = (_replace, _replace, _replace, _remove, _add, _nest)


def _twice(data: bytes, draw: Random) -> bytes:
    return data[:-1] + b', "prompt": 1, "prompt": "a", "max_tokens": 1}'


def _truncated(data: bytes, draw: Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _flipped(data: bytes, draw: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _inserted(data: bytes, draw: Random) -> bytes:
    at = draw.randrange(len(data))
    odd = draw.choice(
        (b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\u00", b"/*", b",", b"\x1b[2J")
    )
    return data[:at] + odd + data[at:]


def _deep(data: bytes, draw: Random) -> bytes:
    depth = draw.choice((100, 1000, 100_000))
    return draw.choice((b"[", b'{"a":', b'{"prompt":[')) * depth


def _encoded(data: bytes, draw: Random) -> bytes:
    return data.decode().encode(draw.choice(("utf-16", "utf-32", "utf-8-sig")))


def _no_object(data: bytes, draw: Random) -> bytes:
    return draw.choice((b"", b"null", b"[]", b'"a"', b"1", b"[" + data + b"]", data * 2, b"\x1f\x8b\x08", b"\0" * 100))


_DAMAGES = (_twice, _truncated, _flipped, _inserted, _deep, _encoded, _no_object)
