"""Reads pickles without pickle: a small machine that builds data, and calls only what its caller lists.

Python's own unpickler can be held to a list of globals too, but a few bytes make it take all memory (the index of a
memo) or all time (the hash of a tuple of tuples of tuples). Opcodes: Lib/pickletools.py of CPython, which splits them.
"""

import pickletools
from collections.abc import Callable, Mapping

MAX_BYTES = 8 * 2**20
"""Of a pickle. Those of a model's weights have some kilobytes for each layer."""
_MAX_OPCODES = 2**20

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], object]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
}
_MARK = object()


class Record:
    """An object of a class that is only described here: what it was made with, and its attributes."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.attributes: dict[str, object] = {}


def read_pickle(
    data: bytes, known: Mapping[str, object], persistent: Callable[[object], object] | None = None
) -> object:
    """The object that a pickle describes: dicts, lists, tuples, plain values, and what `known` makes.

    Args:
      data: the pickle.
      known: by "module name": what stands for a global; if it can be called, the pickle may call it with what it built.
      persistent: what stands for an object that is stored elsewhere, by its id; None: there are none.

    Raises:
      ValueError: the pickle is damaged, too large, or asks for anything else.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"a pickle of {len(data)} bytes; {MAX_BYTES} are the most that is read")
    machine = _Machine(known, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > _MAX_OPCODES:
                raise ValueError(f"a pickle of more than {_MAX_OPCODES} opcodes")
            if opcode.name == "STOP":
                return machine.pop()
            machine.run(opcode.name, argument)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"a damaged pickle: {type(error).__name__}") from error
    raise ValueError("a pickle without an end")


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, known: Mapping[str, object], persistent: Callable[[object], object] | None) -> None:
        self._known = known
        self._persistent = persistent
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def pop(self) -> object:
        if self._stack[-1] is _MARK:
            raise ValueError("a damaged pickle: nothing to take")
        return self._stack.pop()

    def run(self, name: str, argument: object) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self._stack.append(tuple(reversed([self.pop() for _ in range(_TUPLES[name])])))
        else:
            self._run_other(name, argument)

    def _run_other(self, name: str, argument: object) -> None:
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._stack.append(_MARK)
            case "TUPLE":
                self._stack.append(tuple(self._pop_to_mark()))
            case "APPEND":
                self._extend([self.pop()])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                assert isinstance(argument, int)
                self._memo[argument] = self._stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                assert isinstance(argument, int)
                self._stack.append(self._memo[argument])
            case "GLOBAL":
                self._stack.append(self._global(str(argument)))
            case "STACK_GLOBAL":
                attribute, module = self.pop(), self.pop()
                if not isinstance(module, str) or not isinstance(attribute, str):
                    raise ValueError("a damaged pickle: a global without a name")
                self._stack.append(self._global(f"{module} {attribute}"))
            case "REDUCE" | "NEWOBJ":
                arguments, function = self.pop(), self.pop()
                if not callable(function) or not isinstance(arguments, tuple):
                    raise ValueError("a damaged pickle: a call of what cannot be called")
                self._stack.append(function(*arguments))
            case "BUILD":
                state, target = self.pop(), self._stack[-1]
                if isinstance(target, Record) and isinstance(state, dict):
                    target.attributes.update(state)
            case "BINPERSID" if self._persistent is not None:
                self._stack.append(self._persistent(self.pop()))
            case _:
                raise ValueError(f"a pickle with the opcode {name}, which no writer of checkpoints uses")

    def _global(self, name: str) -> object:
        if name not in self._known:
            dotted = name.replace(" ", ".")[:100]
            raise ValueError(f"it asks for {dotted!r}, which is no part of weights, and was not run")
        return self._known[name]

    def _pop_to_mark(self) -> list[object]:
        items: list[object] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ValueError("a damaged pickle: items of no list")
        target.extend(items)

    def _set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("a damaged pickle: items of no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | Record):  # the hash of a tuple of tuples of tuples would not end
                raise ValueError(f"a pickle with a {type(key).__name__} as a key")
            target[key] = value
