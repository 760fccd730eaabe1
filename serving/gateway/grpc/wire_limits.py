"""check_fields: refuses a protobuf message that would become too many objects, before it is parsed.

An empty message in a message takes two bytes on the wire, about thirty times as many parsed, and everything after the
parser looks at each of them. Messages of all types are counted alike; texts and packed numbers may be of any length.
"""

from collections.abc import Mapping
from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from serving.errors import Reason, ServingError

MAX_FIELDS = 15_000
"""Fields in a message and the messages in it, each element of a repeated one counted unless it is packed."""

# Wire types (https://protobuf.dev/programming-guides/encoding/); those of groups have nothing after their tag.
_VARINT = 0
_DELIMITED = 2
_FIXED = {1: 8, 5: 4}
"""Type -> bytes."""


def check_fields(data: bytes, kind: type[Message]) -> None:
    """Walks over the fields of a message up to one too many.

    It is exact for messages of this type. Of other data, it counts at least what a parser comes to before the fault.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    outer: list[tuple[int, Mapping[int, Descriptor]]] = []
    end, messages = len(data), _messages_in(kind.DESCRIPTOR)
    position = count = 0
    try:
        while True:
            while position >= end:
                if not outer:
                    return
                position = end  # as the parser does, should the fields have said otherwise
                end, messages = outer.pop()
            count += 1
            if count > MAX_FIELDS:
                raise ServingError(
                    Reason.INVALID_ARGUMENT,
                    f"The request has more than {MAX_FIELDS} fields, with those of its messages, the limit here. "
                    "Send fewer messages, files or stop sequences, and numbers packed.",
                )
            tag, position = _varint(data, position)
            wire_type = tag & 7
            if wire_type == _DELIMITED:
                length, position = _varint(data, position)
                inner = messages.get(tag >> 3)
                if inner is None:
                    position += length
                else:
                    outer.append((end, messages))
                    end, messages = position + length, _messages_in(inner)
            elif wire_type == _VARINT:
                _, position = _varint(data, position)
            else:
                position += _FIXED.get(wire_type, 0)
    except IndexError:
        return  # it ends within a field, which the parser says


@cache
def _messages_in(kind: Descriptor) -> Mapping[int, Descriptor]:
    """The fields of a message that are messages, by number."""
    return {number: field.message_type for number, field in kind.fields_by_number.items() if field.message_type}


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number and the position after it."""
    number = data[position]
    position += 1
    if number < 0x80:
        return number, position
    number &= 0x7F
    for shift in range(7, 70, 7):  # a longer one is a fault
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return number, position
