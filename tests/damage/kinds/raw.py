"""Damage to the bytes of a file, whatever they mean."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.damage.kinds.damage import Damage, Draw, Kind, pick

_EDGE = 4096
"""Bytes at the beginning and the end of a file, where most formats describe themselves."""
_SIZES = (0, 1, 255, 2**31 - 1, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
_NOT_FINITE = b"\xc0\x7f\xc0\x7f"
"""NaN in float32, and twice in bfloat16 and float16."""


def _place(size: int, draw: Draw) -> int:
    """Anywhere in so many bytes, most of the time near their beginning or end."""
    low, high = pick(draw, [(0, min(_EDGE, size)), (0, min(_EDGE, size)), (max(size - _EDGE, 0), size), (0, size)])
    return int(draw.integers(low, max(high, low + 1)))


def cut(data: bytes, draw: Draw) -> bytes:
    return data[: pick(draw, [_place(len(data), draw), 1, 8, len(data) // 2, len(data) - 1])]


def flip(data: bytes, draw: Draw) -> bytes:
    at, changed = _place(len(data), draw), bytearray(data)
    for place in draw.integers(max(at - 32, 0), at + 32, draw.integers(1, 9)):
        if place < len(changed):
            changed[place] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def number(data: bytes, draw: Draw) -> bytes:
    at, width = _place(len(data), draw), pick(draw, [1, 2, 4, 8])
    value = pick(draw, _SIZES) % (1 << 8 * width)
    return data[:at] + value.to_bytes(width, "little" if draw.integers(2) else "big") + data[at + width :]


def exchange(data: bytes, draw: Draw) -> bytes:
    one, other = sorted(_place(len(data), draw) // 4 * 4 for _ in range(2))
    if other - one < 8 or other + 8 > len(data):
        return cut(data, draw)
    return data[:one] + data[other : other + 8] + data[one + 8 : other] + data[one : one + 8] + data[other + 8 :]


def zeros(data: bytes, draw: Draw) -> bytes:
    at, count = _place(len(data), draw), int(draw.integers(1, 512))
    return (data[:at] + bytes(count) + data[at + count :])[: len(data)]


def copy(data: bytes, draw: Draw) -> bytes:
    at, other = _place(len(data), draw), _place(len(data), draw)
    return (data[:at] + data[other : other + 64] + data[at + 64 :])[: len(data)]


def insert(data: bytes, draw: Draw) -> bytes:
    at = _place(len(data), draw)
    return data[:at] + draw.bytes(int(draw.integers(1, 64))) + data[at:]


def leave_out(data: bytes, draw: Draw) -> bytes:
    at = _place(len(data), draw)
    return data[:at] + data[at + int(draw.integers(1, 64)) :]


def append(data: bytes, draw: Draw) -> bytes:
    return data + pick(draw, [draw.bytes(int(draw.integers(1, 600))), bytes(4096), data])


def digits(data: bytes, draw: Draw) -> bytes:
    """A number in text is another one, or far longer."""
    found = [place for place in range(min(len(data), 2 * _EDGE)) if data[place : place + 1].isdigit()] or [0]
    place = pick(draw, found)
    return data[:place] + pick(draw, [b"9" * int(draw.integers(1, 30)), b"-1", b"1e999", b"0"]) + data[place + 1 :]


def nest(data: bytes, draw: Draw) -> bytes:
    deep = pick(draw, [b"[" * 100_000, b'{"a":' * 50_000, b"\x80\x02" + b"]" * 100_000, b"- " * 20_000, b"(" * 9_000])
    at = pick(draw, [0, 8, len(data), _place(len(data), draw)])
    return pick(draw, [deep, data[:at] + deep + data[at:]])


def other(data: bytes, draw: Draw) -> bytes:
    """What is no file of the form at all."""
    return pick(
        draw, [b"", b"\n", bytes(len(data)), draw.bytes(len(data)), b"PK\x03\x04" * 64, b"version https://git-lfs"]
    )


def _kind(edit: Callable[[bytes, Draw], bytes]) -> Kind:
    def damage(file: Path, draw: Draw) -> Damage:
        data = file.read_bytes()
        damaged = edit(data, draw)
        file.write_bytes(damaged)
        return Damage(text=f"{edit.__name__} in {file.name}", changed=changed_bytes(data, damaged))

    return Kind(lambda file: file.stat().st_size > 8, damage)


def changed_bytes(before: bytes, after: bytes) -> int:
    """Bytes that are others in a file of the old length."""
    if len(before) != len(after):
        return 0
    return int(np.count_nonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8)))


def not_finite(numbers: bytes) -> Kind:
    """Numbers of a tensor, which begins with these bytes, are none; they lie in a file as they are."""

    def damage(file: Path, draw: Draw) -> Damage:
        data = file.read_bytes()
        at = data.index(numbers) + 4 * int(draw.integers(len(numbers) // 4))
        file.write_bytes(data[:at] + _NOT_FINITE + data[at + 4 :])
        return Damage(text=f"NaN in {file.name}", refused=True, names="not finite")

    return Kind(lambda file: numbers in file.read_bytes(), damage)


EDITS = (cut, flip, number, exchange, zeros, copy, insert, leave_out, append, digits, nest, other)
RAW = {edit.__name__: _kind(edit) for edit in EDITS}
