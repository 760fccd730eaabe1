"""shown: the beginning of a value that a client sent, for an error that names it."""

import json
from collections.abc import Iterator

_SHOWN = 64
"""Characters at most."""


def shown(value: object) -> str:
    """The first characters of a value as JSON; no more of it is looked at, however large it is."""
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > _SHOWN:
            return f"{text[: _SHOWN - 3]}..."
    return text


def _pieces(value: object) -> Iterator[str]:
    """The JSON of a value from its beginning. Each level makes at least a character, so none is reached for nothing."""
    match value:
        case str():
            yield json.dumps(value[:_SHOWN], ensure_ascii=False)
        case list() | tuple():
            for position, item in enumerate(value):
                yield ", " if position else "["
                yield from _pieces(item)
            yield "]" if value else "[]"
        case dict():
            for position, (name, item) in enumerate(value.items()):
                yield ", " if position else "{"
                yield from _pieces(name)
                yield ": "
                yield from _pieces(item)
            yield "}" if value else "{}"
        case _:
            yield json.dumps(value, default=str)
