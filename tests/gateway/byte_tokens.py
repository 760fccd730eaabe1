"""byte_tokens: text as tokens of one byte each."""

from sharding.step import Token

_FIRST = 217
"""The token of the byte 0 in CodeGemma's vocabulary."""


def byte_tokens(text: str) -> list[Token]:
    return [Token(_FIRST + byte, -1.0) for byte in text.encode()]
