"""Hypothesis strategies for protobuf messages, made from their descriptors: valid ones and faulty ones."""

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.abuse.grpc_messages import field, varint

_DEEPEST = 4
_F = FieldDescriptor
_TEXTS = st.one_of(st.text(max_size=30), st.sampled_from(("codegemma", "<|fim_middle|>", "a.py", "\0", "é😀")))


def _integers(bits: int, *, signed: bool) -> SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.one_of(st.integers(max(low, -2), 40), st.integers(low, high))


_SCALARS: dict[int, SearchStrategy[Any]] = {
    _F.TYPE_BOOL: st.booleans(),
    _F.TYPE_BYTES: st.binary(max_size=30),
    _F.TYPE_DOUBLE: st.floats(),
    _F.TYPE_FIXED32: _integers(32, signed=False),
    _F.TYPE_FIXED64: _integers(64, signed=False),
    _F.TYPE_FLOAT: st.one_of(st.floats(0, 2, width=32), st.floats(width=32)),
    _F.TYPE_INT32: _integers(32, signed=True),
    _F.TYPE_INT64: _integers(64, signed=True),
    _F.TYPE_SFIXED32: _integers(32, signed=True),
    _F.TYPE_SFIXED64: _integers(64, signed=True),
    _F.TYPE_SINT32: _integers(32, signed=True),
    _F.TYPE_SINT64: _integers(64, signed=True),
    _F.TYPE_STRING: _TEXTS,
    _F.TYPE_UINT32: _integers(32, signed=False),
    _F.TYPE_UINT64: _integers(64, signed=False),
}
_NUMBERS = _SCALARS.keys() - {_F.TYPE_BOOL, _F.TYPE_BYTES, _F.TYPE_STRING}


@st.composite
def messages(draw: st.DrawFn, kind: Any, *, likely: bool = False, deep: int = 0) -> Message:
    """A message of a type with any of its fields, down to some depth.

    Args:
      draw: given by Hypothesis.
      kind: its type.
      likely: with what a service will not do without: one of each `oneof`, items in lists of messages, values of enums
        that mean something, and small numbers.
      deep: how many messages it is in.
    """
    message = GetMessageClass(kind)()
    fields = [each for each in kind.fields if deep < _DEEPEST or not each.message_type]
    chosen = draw(st.lists(st.sampled_from(fields), unique_by=lambda each: each.number)) if fields else []
    if likely:
        needed = (each for each in fields if each.enum_type or (each.message_type and each.is_repeated))
        chosen += [each for each in needed if each not in chosen]
        chosen += [
            draw(st.sampled_from(list(oneof.fields)))
            for oneof in kind.oneofs
            if not any(each.containing_oneof is oneof for each in chosen)
        ]
    for each in chosen:
        if _is_map(each):
            key, of_key = (_scalar(part, likely) for part in each.message_type.fields)
            getattr(message, each.name).update(draw(st.dictionaries(key, of_key, min_size=likely, max_size=3)))
            continue
        value = (
            messages(each.message_type, likely=likely, deep=deep + 1) if each.message_type else _scalar(each, likely)
        )
        if each.is_repeated:
            getattr(message, each.name).extend(draw(st.lists(value, min_size=likely, max_size=3)))
        elif each.message_type:
            getattr(message, each.name).CopyFrom(draw(value))
        else:
            setattr(message, each.name, draw(value))
    return message


def _is_map(each: FieldDescriptor) -> bool:
    return bool(each.message_type and each.message_type.GetOptions().map_entry)


def _scalar(each: FieldDescriptor, likely: bool) -> SearchStrategy[Any]:
    if each.enum_type:
        known = [value.number for value in each.enum_type.values]
        return st.sampled_from(known[1:]) if likely else st.one_of(st.sampled_from(known), st.integers(-1, 99))
    if likely and each.type in _NUMBERS:
        return st.integers(1, 4)
    return _SCALARS[each.type]


@st.composite
def mutated(draw: st.DrawFn, kind: Descriptor) -> bytes:
    """The bytes of a message, with one to three changes that a parser may or may not take."""
    data = draw(messages(kind)).SerializeToString()
    for change in draw(st.lists(st.sampled_from(_CHANGES), min_size=1, max_size=3)):
        data = change(draw, data)
    return data


def _flipped(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    return data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]


def _truncated(draw: st.DrawFn, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _inserted(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.binary(max_size=20)) + data[at:]


def _doubled(draw: st.DrawFn, data: bytes) -> bytes:
    return data + data


def _with_field(draw: st.DrawFn, data: bytes) -> bytes:
    number = draw(st.one_of(st.integers(1, 12), st.sampled_from((99, 19_000, 2**29 - 1))))
    return data + field(number, draw(st.one_of(st.binary(max_size=30), st.just(data))))


def _with_number(draw: st.DrawFn, data: bytes) -> bytes:
    return data + varint(draw(st.integers(1, 12)) << 3) + varint(draw(st.sampled_from((0, 1, 2**31, 2**63, 2**64 - 1))))


_CHANGES: tuple[Callable[[st.DrawFn, bytes], bytes], ...] = (
    _flipped,
    _truncated,
    _inserted,
    _doubled,
    _with_field,
    _with_number,
)
