"""without_half_pairs: JSON in which no escape is half of a surrogate pair.

Clients whose strings are UTF-16, as JavaScript's are, cut texts between the halves of a character beyond U+FFFF and
send the half; no parser here takes it, for it is no character.
"""

import re

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_REPLACEMENT = rb"\ufffd"


def without_half_pairs(data: bytes | bytearray) -> bytes:
    """The same JSON with U+FFFD for each half of a pair that is without the other; no byte moves."""
    parts: list[bytes | bytearray] = []
    kept = position = 0
    while found := _SURROGATE.search(data, position):
        start, position = found.span()
        if _is_escaped(data, start):  # `\\ud83d` is a backslash and letters
            continue
        following = _SURROGATE.match(data, position)
        if _is_high(data, start) and following and not _is_high(data, position):
            position = following.end()
            continue
        parts += (data[kept:start], _REPLACEMENT)
        kept = position
    return b"".join((*parts, data[kept:]))


def _is_high(data: bytes | bytearray, start: int) -> bool:
    return data[start + 3] in b"89abAB"


def _is_escaped(data: bytes | bytearray, start: int) -> bool:
    """Whether the backslash there is itself the second of an escape."""
    first = start
    while first and data[first - 1] == ord("\\"):
        first -= 1
    return bool((start - first) % 2)
