"""JSON as it goes out: compact, for some editors look for `"content":"` without a space."""

from typing import Any

import msgspec

type Json = dict[str, Any]
"""A JSON object to be written."""

_LINE_ENDS = {character.encode(): f"\\u{ord(character):04x}".encode() for character in "\x85\u2028\u2029"}
"""What JSON leaves in texts and some clients, Python's among them, end a line at. UTF-8 -> JSON's escape."""


def compact_json(content: object) -> bytes:
    """JSON in UTF-8, without spaces."""
    return msgspec.json.encode(content)


def one_line_json(content: object) -> bytes:
    """The same, as one line for whatever reads lines."""
    text = compact_json(content)
    for character, escape in _LINE_ENDS.items():
        text = text.replace(character, escape)
    return text
