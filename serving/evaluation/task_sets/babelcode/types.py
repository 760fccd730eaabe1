"""Types of Python values, as far as all of BabelCode's languages can write them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

_INT32 = range(-(1 << 31), 1 << 31)
_INT64 = range(-(1 << 63), 1 << 63)


class UntranslatableError(ValueError):
    """A question cannot be put in another language; the message says why."""


class Scalar(StrEnum):
    """A type without parts. `UNKNOWN` is that of an empty list's elements."""

    BOOL = "bool"
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    STRING = "string"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ListOf:
    """A list of one type; tuples of one type are lists, too."""

    element: "Type"


@dataclass(frozen=True)
class SetOf:
    """A set."""

    element: "Type"


@dataclass(frozen=True)
class MapOf:
    """A dictionary."""

    key: "Type"
    value: "Type"


Type = Scalar | ListOf | SetOf | MapOf

_WIDER = [Scalar.INT, Scalar.LONG, Scalar.FLOAT]


def type_of(value: object) -> Type:
    """The type of a value.

    Raises:
      UntranslatableError: it has none here: None, lists of mixed types, integers beyond 64 bits.
    """
    match value:
        case bool():
            return Scalar.BOOL
        case int():
            if value not in _INT64:
                raise UntranslatableError("an integer is beyond 64 bits")
            return Scalar.INT if value in _INT32 else Scalar.LONG
        case float() if isfinite(value):
            return Scalar.FLOAT
        case str() if all(c.isprintable() or c in "\n\r\t" for c in value):
            return Scalar.STRING
        case list() | tuple():
            return ListOf(common(map(type_of, value)))
        case set() | frozenset():
            return SetOf(_key(common(map(type_of, value))))
        case dict():
            return MapOf(_key(common(map(type_of, value))), common(map(type_of, value.values())))
    raise UntranslatableError(f"a value is {value!r}, which has no type in every language")


def _key(kind: Type) -> Type:
    if kind not in (Scalar.INT, Scalar.LONG, Scalar.STRING, Scalar.UNKNOWN):
        raise UntranslatableError("a key is neither an integer nor a text")
    return kind


def common(types: Iterable[Type]) -> Type:
    """The narrowest type that holds values of all of these.

    Raises:
      UntranslatableError: there is none.
    """
    found: Type = Scalar.UNKNOWN
    for each in types:
        found = _both(found, each)
    return found


def _both(a: Type, b: Type) -> Type:
    if a == b or b is Scalar.UNKNOWN:
        return a
    if a is Scalar.UNKNOWN:
        return b
    match a, b:
        case Scalar(), Scalar() if a in _WIDER and b in _WIDER:
            return max(a, b, key=_WIDER.index)
        case ListOf(), ListOf():
            return ListOf(_both(a.element, b.element))
        case SetOf(), SetOf():
            return SetOf(_both(a.element, b.element))
        case MapOf(), MapOf():
            return MapOf(_both(a.key, b.key), _both(a.value, b.value))
    raise UntranslatableError("values of several types are mixed")


def known(kind: Type) -> Type:
    """The type with integers where nothing says what a list holds."""
    match kind:
        case ListOf():
            return ListOf(known(kind.element))
        case SetOf():
            return SetOf(known(kind.element))
        case MapOf():
            return MapOf(known(kind.key), known(kind.value))
    return Scalar.INT if kind is Scalar.UNKNOWN else kind
