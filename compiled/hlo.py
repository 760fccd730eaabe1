"""An optimised, scheduled HLO module as XLA prints it: computations of instructions with arrays as results.

The text is that of `jax.stages.Compiled.as_text()`; openxla.org/xla/operation_semantics describes the operations, and
openxla.org/xla/shapes the layouts, to which a TPU adds its tiling and the memory that an array is in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

HBM, VMEM, HOST = 0, 1, 5
"""Memories, by the number in a layout's `S(...)`."""

_BITS = {"pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "bf16": 16, "f16": 16, "s64": 64}
_DEFAULT_BITS = 32
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\](?:\{([^}]*)\})?")
_SPACE = re.compile(r"S\((\d+)\)")
_COMPUTATION = re.compile(r"^(ENTRY )?%([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^  (ROOT )?%([\w.\-]+) = ")
_OPCODE = re.compile(r" *([\w\-]+)\(")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|body|to_apply|true_computation|false_computation)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


@dataclass(frozen=True)
class Array:
    """An array of a program.

    Attributes:
      dtype: HLO's name, such as `bf16`.
      shape: without the padding of its tiles.
      memory: `HBM`, `VMEM`, `HOST` or another of the device's.
    """

    dtype: str
    shape: tuple[int, ...]
    memory: int = HBM

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * _BITS.get(self.dtype, _DEFAULT_BITS) // 8

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Instruction:
    """One instruction of a computation.

    Attributes:
      name: unique in the module.
      opcode: such as `fusion`.
      results: one array, or those of a tuple.
      operands: names of instructions of the same computation.
      literal: what a parameter or a constant has in place of operands: its number, its value.
      attributes: all that follows the operands, as text.
      is_root: whether its results are those of the computation.
    """

    name: str
    opcode: str
    results: tuple[Array, ...]
    operands: tuple[str, ...] = ()
    literal: str = ""
    attributes: str = ""
    is_root: bool = False

    @property
    def index(self) -> int:
        """Of a parameter; -1 for all others."""
        return int(self.literal) if self.opcode == "parameter" else -1

    @property
    def size(self) -> int:
        """Bytes of the results."""
        return sum(array.size for array in self.results)

    @property
    def called(self) -> tuple[str, ...]:
        """The computations that it runs: of a fusion, a loop's body, each branch of a conditional."""
        branches = _BRANCHES.search(self.attributes)
        return (*_CALLED.findall(self.attributes), *(_NAME.findall(branches[1]) if branches else ()))

    @property
    def is_kernel(self) -> bool:
        """Whether it is a Pallas kernel for TPUs."""
        return self.opcode == "custom-call" and 'custom_call_target="tpu_custom_call"' in self.attributes

    @property
    def cycles(self) -> int:
        """What the compiler expects it to take; 0 where it does not say, as for kernels and collectives."""
        return int(self.attribute(r'"estimated_cycles":"(\d+)"') or 0)

    @property
    def source(self) -> str:
        """The operation of JAX that it comes from."""
        return self.attribute(r'op_name="([^"]*)"') or ""

    def attribute(self, pattern: str) -> str | None:
        """The first group of `pattern` in the attributes."""
        found = re.search(pattern, self.attributes)
        return found[1] if found else None


class Computation(tuple[Instruction, ...]):
    """Instructions in the order in which they run."""

    @cached_property
    def by_name(self) -> Mapping[str, Instruction]:
        """Each instruction by its name."""
        return {each.name: each for each in self}

    def operands(self, instruction: Instruction) -> list[Instruction]:
        """The instructions whose results one of them takes."""
        return [self.by_name[name] for name in instruction.operands]

    def users(self, name: str) -> list[Instruction]:
        """The instructions that take the results of `name`."""
        return [each for each in self if name in each.operands]


@dataclass(frozen=True)
class Module:
    """A program.

    Attributes:
      entry: the name of the computation that runs.
      computations: by name.
    """

    entry: str
    computations: Mapping[str, Computation]

    @classmethod
    def parse(cls, text: str) -> "Module":
        """Reads what XLA printed.

        Raises:
          ValueError: no computation is marked as the entry.
        """
        bodies: dict[str, list[str]] = {}
        entry = name = ""
        for line in text.splitlines():
            if header := _COMPUTATION.match(line):
                name = header[2]
                bodies[name] = []
                entry = name if header[1] else entry
            elif line == "}":
                name = ""
            elif name and _INSTRUCTION.match(line):
                bodies[name].append(line)
            elif name:
                bodies[name][-1] += line  # attributes of kernels have line breaks
        if not entry:
            raise ValueError("text: no computation is marked as ENTRY. Give the text of a compiled HLO module.")
        return cls(entry, {name: Computation(map(_instruction, lines)) for name, lines in bodies.items()})

    def trip_count(self, loop: Instruction) -> int:
        """How often a loop runs; 1 where that is not known before.

        The TPU's compiler does not say it of all: one that goes on below a constant is taken to count from 0, as
        `lax.fori_loop` does here.
        """
        if known := loop.attribute(r'"known_trip_count":\{"n":"(\d+)"'):
            return int(known)
        condition = self.computations[loop.attribute(r"condition=%([\w.\-]+)") or ""]
        goes_on = next(each for each in condition if each.is_root)
        if goes_on.opcode != "compare" or "direction=LT" not in goes_on.attributes:
            return 1
        limit = condition.operands(goes_on)[1]
        return int(limit.literal) if limit.opcode == "constant" else 1


def _instruction(line: str) -> Instruction:
    start = _INSTRUCTION.match(line)
    assert start is not None
    types_end = _closing(line, start.end()) if line[start.end()] == "(" else line.index(" ", start.end())
    opcode = _OPCODE.match(line, types_end)
    assert opcode is not None, line[:200]
    operands_end = _closing(line, opcode.end() - 1)
    operands = line[opcode.end() : operands_end - 1]
    return Instruction(
        name=start[2],
        opcode=opcode[1],
        results=_arrays(line[start.end() : types_end]),
        operands=tuple(_NAME.findall(operands)),
        literal=operands if opcode[1] in ("parameter", "constant") else "",
        attributes=line[operands_end:],
        is_root=start[1] is not None,
    )


def _closing(text: str, start: int) -> int:
    """The position behind the parenthesis that closes the one at `start`."""
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if depth == 0:
            return position + 1
    raise ValueError(f"text: a parenthesis is not closed: {text[start : start + 80]}")


def _arrays(text: str) -> tuple[Array, ...]:
    def array(dtype: str, shape: str, layout: str) -> Array:
        space = _SPACE.search(layout)
        return Array(dtype, tuple(map(int, filter(None, shape.split(",")))), int(space[1]) if space else HBM)

    return tuple(array(*found) for found in _ARRAY.findall(text))
