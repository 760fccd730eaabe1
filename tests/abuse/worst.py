"""The inputs that once cost the most, one by one: how long each held the loop, and the memory that it took.

    python -m tests.abuse.worst

They go to a Gateway without Ray, with `python -m tests.abuse --worst` to a whole service: the tables in docs/abuse.md.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import monotonic

from serving.telemetry.metrics import LOOP_STALL_SECONDS
from tests.abuse.attack import Attack
from tests.abuse.grpc_messages import CODE_ASSIST, CallAttack, field
from tests.abuse.http2 import UNARY, call, message
from tests.abuse.http2_attack import END_STREAM, PREFACE, FrameType, Http2Attack, frame, headers_frames
from tests.abuse.http_attack import HttpAttack, request
from tests.abuse.lone_gateway import lone_gateway
from tests.abuse.state import Held, observed_stalls, peak_memory, settled, silent_doors
from tests.abuse.target import Target

_SIZE = 4_000_000
_USER, _MODEL = b"\x08\2", b"\x08\3"
_BIASED = json.dumps(
    {"prompt": "a", "max_tokens": 1, "logit_bias": {f"{number:04} x y" * 102: 1 for number in range(300)}}
).encode()
_OPEN = PREFACE + frame(FrameType.SETTINGS, 0, 0)


def _listed(path: str, begin: bytes, item: bytes, end: bytes) -> Attack:
    body = begin + b",".join([item] * (_SIZE // (len(item) + 1))) + end
    return HttpAttack("", request(path, body, b"content-type: application/json\r\n"), must_answer=True)


def _call(method: str, data: bytes) -> Attack:
    return CallAttack("", f"{CODE_ASSIST}/{method}", data)


def _raw(headers: list[tuple[bytes, bytes]], body: bytes = b"") -> Attack:
    data = _OPEN + headers_frames(1, headers) + frame(FrameType.DATA, END_STREAM, 1, body)
    return Http2Attack("", data, must_answer=True)


WORST: dict[str, Callable[[], Attack]] = {
    "2 million numbers as stop texts": lambda: _listed("/v1/completions", b'{"prompt":"a","stop":[', b"1", b"]}"),
    "1.3 million empty chat messages": lambda: _listed("/v1/chat/completions", b'{"messages":[', b"{}", b"]}"),
    "2 million numbers as content": lambda: _listed(
        "/v1/chat/completions", b'{"messages":[{"role":"user","content":[', b"0", b"]}]}"
    ),
    "1.3 million empty token lists": lambda: _listed("/v1/completions", b'{"prompt":[', b"[]", b"]}"),
    "2 million token ids and a text": lambda: _listed("/v1/completions", b'{"prompt":[', b"1", b',"a"]}'),
    "a stop text of 4 MB": lambda: _listed("/v1/completions", b'{"prompt":"a","max_tokens":9,"stop":"', b"aaa", b'"}'),
    "2 million empty context files": lambda: _call("CountTokens", field(2, field(4, b"") * (_SIZE // 2))),
    "a million empty chat turns": lambda: _call(
        "Chat", (field(2, _USER) + field(2, _MODEL)) * (_SIZE // 8) + field(2, _USER)
    ),
    "2 million empty stop sequences": lambda: _call(
        "Complete", field(3, b"a") + field(5, field(6, b"") * (_SIZE // 2))
    ),
    "a prompt of 300 MB": lambda: _call("Complete", field(3, b"a" * 300_000_000)),
    "an unknown field of 300 MB": lambda: _call("Complete", field(1000, b"a" * 300_000_000)),
    "a call without a message": lambda: _raw(call()),
    "a call with two messages": lambda: _raw(call(), message() * 2),
    "a path of 100,000 characters beside another file": lambda: _call(
        "Complete", field(2, field(2, b"x") + field(3, b"dir/" * 25_000) + field(4, field(1, b"a") + field(2, b"b")))
    ),
    "300 texts of 1,024 characters with a bias": lambda: HttpAttack(
        "", request("/v1/completions", _BIASED, b"content-type: application/json\r\n"), must_answer=True
    ),
    "a path that is no UTF-8": lambda: _raw(call(UNARY + b"\xff"), message()),
}
"""What each is, and what makes it."""


@dataclass(frozen=True)
class Cost:
    """What one input cost.

    Attributes:
      seconds: until it was answered.
      stall: bound below which the longest stall of the loop stayed, in seconds.
      grown: bytes of memory.
      faults: what is wrong with the answer, or with the service afterwards.
    """

    seconds: float
    stall: float
    grown: int
    faults: list[str]


async def cost_of(target: Target, attack: Attack) -> Cost:
    """Sends an input and measures."""
    held, before = Held.by(target.gateway), (await settled(target)).buckets(LOOP_STALL_SECONDS)
    started = monotonic()
    faults = await attack.faults(target)
    seconds = monotonic() - started
    grown = peak_memory(target.gateway) - held.memory
    stall = observed_stalls(before, (await settled(target)).buckets(LOOP_STALL_SECONDS))
    return Cost(seconds, stall, grown, faults + await silent_doors(target))


async def show_costs(gateway: Callable[[], AbstractContextManager[Target]]) -> bool:
    """Prints the table; whether nothing was wrong.

    Args:
      gateway: gives one for each input.
    """
    print("| input | answered after, s | longest stall, s | memory, MB | faults |\n|---|--:|--:|--:|---|")
    good = True
    for about, make in WORST.items():
        with gateway() as target:
            await silent_doors(target)  # what is done at the first request only is not the input's cost
            cost = await cost_of(target, make())
        good &= not cost.faults
        faults = "; ".join(fault.splitlines()[0][:60] for fault in cost.faults)
        print(f"| {about} | {cost.seconds:.2f} | < {cost.stall:g} | {cost.grown / 1e6:.0f} | {faults} |", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(show_costs(lone_gateway)) else 1)
