"""Damage to the fields of a GGUF's header: one part of a key, a value or a tensor's description is another number."""

from pathlib import Path
from typing import Any

import gguf

from tests.damage.kinds.damage import Damage, Draw, Kind, pick

_NUMBERS = (0, 1, 2, 3, 8, 9, 12, 30, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1)


def _fields(file: Path) -> list[Any]:
    reader = gguf.GGUFReader(file)
    return [*reader.fields.values(), *(tensor.field for tensor in reader.tensors)]


def _part(file: Path, draw: Draw) -> Damage:
    field = pick(draw, [field for field in _fields(file) if not field.name.startswith("GGUF.")])
    number = int(draw.integers(min(len(field.parts), 12)))
    at = field.offset + sum(part.nbytes for part in field.parts[:number])
    width, value = field.parts[number].nbytes, pick(draw, _NUMBERS)
    data = bytearray(file.read_bytes())
    data[at : at + min(width, 8)] = (value % 2 ** (8 * min(width, 8))).to_bytes(min(width, 8), "little")
    file.write_bytes(data)
    return Damage(text=f"part {number} of {field.name} is {value} in {file.name}")


def _exchanged(file: Path, draw: Draw) -> Damage:
    """The offsets of two tensors of different sizes, or both have that of the first."""
    tensors = gguf.GGUFReader(file).tensors
    one = pick(draw, list(tensors))
    others = [tensor for tensor in tensors if tensor.name != one.name]
    other = pick(draw, [tensor for tensor in others if tensor.n_bytes != one.n_bytes] or others)
    data = bytearray(file.read_bytes())
    places = [each.field.offset + sum(part.nbytes for part in each.field.parts[:-1]) for each in (one, other)]
    first, second = (data[at : at + 8] for at in places)
    data[places[0] : places[0] + 8] = second
    if said := pick(draw, [True, False]) and bool(one.n_bytes != other.n_bytes):
        data[places[1] : places[1] + 8] = first
    file.write_bytes(data)
    return Damage(text=f"{one.name} is where {other.name} is{', and it there' * said}", refused=True, names="tensor")


def _is_gguf(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"GGUF"


GGUF_FIELDS = {
    "field": Kind(_is_gguf, _part),
    "another field": Kind(_is_gguf, _part),
    "a third field": Kind(_is_gguf, _part),
    "tensors exchanged": Kind(_is_gguf, _exchanged),
}
