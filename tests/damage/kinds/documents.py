"""Damage to what is described in JSON or YAML: values of other kinds, keys that are missing, twice or others."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.damage.kinds.damage import Damage, Draw, Kind, pick

type _Place = tuple[Any, Any]
"""A container, and a key or index of it."""

_BAD: tuple[Any, ...] = (
    *(None, True, False, "", "x", "9" * 5000, "\n", "../../etc/passwd", "/etc/passwd", "\x00", "ü" * 300),
    *(0, -1, 1, 2, 3, 7, 2**31, 2**53, 2**63, 2**64, 10**300, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf")),
    *([], {}, [[]], [-1, 2**70], [0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], {"a": {"b": 1}}, [None] * 3),
)
_TYPES = ("F32", "F16", "BF16", "I8", "U8", "F64", "I64", "Q4", "float32", "bfloat16", "<f4", "<f2", "|i1", "<i8")
_EXECUTED = (
    "!!python/object/apply:os.system ['touch executed']",
    "!!python/object/new:subprocess.Popen [[touch, executed]]",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "&a [*a, *a]",
)
_FREE_KEYS = ("layernorm_zero_centered_gamma", "use_rslora")
"""What nothing else in a checkpoint tells: norms that are stored as w and as 1 + w are both norms."""


def _is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and struct.unpack("<Q", data[:8])[0] < len(data)


def read(file: Path) -> Any:
    """What a file describes; None: it has nothing of the kind."""
    with file.open("rb") as opened:
        data = opened.read(2**20)
    try:
        if file.suffix == ".yaml":
            return yaml.safe_load(data)
        if _is_safetensors(data):
            return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
        return json.loads(data) if data[:1] == b"{" else None
    except ValueError:
        return None


def write(file: Path, text: str) -> None:
    """Puts a description in the place of that of a file."""
    data = file.read_bytes()
    if file.suffix == ".yaml" or not _is_safetensors(data):
        file.write_text(text)
        return
    (length,) = struct.unpack("<Q", data[:8])
    header = text.encode(errors="surrogatepass")
    file.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])


def _dumps(file: Path, content: object) -> str:
    return yaml.safe_dump(content) if file.suffix == ".yaml" else json.dumps(content)


def _places(content: Any) -> list[_Place]:
    found: list[_Place] = []
    waiting = [content]
    while waiting:
        container = waiting.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            if key not in _FREE_KEYS:
                found.append((container, key))
                if isinstance(container[key], dict | list):
                    waiting.append(container[key])
    return found


def _kind(edit: Callable[[Any, list[_Place], Draw], str]) -> Kind:
    def damage(file: Path, draw: Draw) -> Damage:
        content = read(file)
        said = edit(content, _places(content), draw)
        write(file, _dumps(file, content))
        return Damage(text=f"{said} in {file.name}")

    return Kind(lambda file: bool(_places(read(file) or {})), damage)


def _value(content: Any, places: list[_Place], draw: Draw) -> str:
    container, key = pick(draw, places)
    container[key] = pick(draw, _BAD)
    return f"{key} is {str(container[key])[:30]!r}"


def _type(content: Any, places: list[_Place], draw: Draw) -> str:
    types = [(container, key) for container, key in places if key == "dtype"] or places
    container, key = pick(draw, types)
    container[key] = pick(draw, _TYPES)
    return f"{key} is {container[key]}"


def _missing(content: Any, places: list[_Place], draw: Draw) -> str:
    container, key = pick(draw, places)
    del container[key]
    return f"{key} is missing"


def _other_key(content: Any, places: list[_Place], draw: Draw) -> str:
    container, key = pick(draw, places)
    if isinstance(container, list):
        container.append(container[key])
        return f"entry {key} is there again"
    renamed = pick(draw, [f"{key}x", str(key)[:-1], f"model.{key}", "", "__metadata__", "a\nb", "\x1b[31m"])
    container[renamed] = container.pop(key)
    return f"{key} is {renamed!r}"


def _again(content: Any, places: list[_Place], draw: Draw) -> str:
    """The same value, or that of a neighbour, under a further key: tensors that are there twice."""
    container, key = pick(draw, places)
    if isinstance(container, list):
        container[key] = container[0]
        return f"entry {key} is the first one"
    container[f"{key}.again"] = container[key]
    return f"{key} is there again"


def _exchanged(content: Any, places: list[_Place], draw: Draw) -> str:
    """Neighbours in a list: the axes of a shape, both ends of a range."""
    lists = [(container, key) for container, key in places if isinstance(container, list) and key]
    if not lists:
        return _missing(content, places, draw)
    container, key = pick(draw, lists)
    container[key - 1], container[key] = container[key], container[key - 1]
    return f"{container} was the other way round"


def _twice(file: Path, draw: Draw) -> Damage:
    """One key two times, with different values: JSON takes the last one, and so do other readers."""
    content = read(file)
    key = pick(draw, [key for key in content if key != "layers"])
    text = _dumps(file, content)
    extra = f"{_dumps(file, {key: pick(draw, [[], 1, {'a': 1}])}).strip()}"
    write(file, f"{extra}\n{text}" if file.suffix == ".yaml" else f"{extra[:-1]}, {text[1:]}")
    return Damage(text=f"{key} is twice in {file.name}")


def _executed(file: Path, draw: Draw) -> Damage:
    key, tag = pick(draw, list(read(file))), pick(draw, _EXECUTED)
    file.write_text(file.read_text() + f"\n{pick(draw, [key, 'extra'])}: {tag}\n")
    return Damage(text=f"{tag} in {file.name}")


DOCUMENTS = {
    "value": _kind(_value),
    "another value": _kind(_value),
    "type": _kind(_type),
    "key missing": _kind(_missing),
    "key changed": _kind(_other_key),
    "value again": _kind(_again),
    "values exchanged": _kind(_exchanged),
    "key twice": Kind(lambda file: bool(_places(read(file) or {})), _twice),
    "executable YAML": Kind(lambda file: file.suffix == ".yaml", _executed),
}
