"""Writer: puts a question into a language. A subclass has the language's words, in a module of its own."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from textwrap import indent
from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type


class Writer(ABC):
    """What a language's programs are made of.

    Attributes:
      language: its name among the toolchains.
      title: its name in the model card.
      imports: the beginning of a program, which the model sees.
      helpers: what tests need, which it does not see: a comparison of values to 1e-6.
      comment: begins a line that says what the function does.
      margin: space before the function's lines.
      scalars: types without parts.
      true, false: the values.
    """

    language: ClassVar[str]
    title: ClassVar[str]
    imports: ClassVar[str] = ""
    helpers: ClassVar[str] = ""
    comment: ClassVar[str] = "// "
    margin: ClassVar[str] = ""
    scalars: ClassVar[dict[Scalar, str]]
    true: ClassVar[str] = "true"
    false: ClassVar[str] = "false"

    def prompt(self, question: Question) -> str:
        """What the model goes on from: imports, what to do, the head of the function."""
        return self.imports + self._head(question)

    def before(self, question: Question) -> str:
        """The program up to the function's body."""
        return self.imports + self.helpers + self._head(question)

    def end(self) -> str:
        """How the function ends, and the model with it."""
        return f"\n{self.margin}}}"

    def stops(self) -> list[str]:
        """The texts that end the model's answer."""
        return [self.end()]

    def after(self, question: Question) -> str:
        """The end of the function, and a test of every case, which writes the end mark."""
        tests = (self.test(self._call(question, arguments), self.literal(expected, question.result), question.result)
                 for arguments, expected in question.cases)  # fmt: skip
        return self.end() + self.main("\n".join(tests))

    def canonical(self, question: Question) -> str:
        """A body that is right: it looks the cases up. It shows that values and tests are written as they should be."""
        lines: list[str] = []
        for arguments, expected in question.cases[:-1]:
            each = zip(question.parameters, arguments, question.types, strict=True)
            same = [self.same(self.identifier(name), self.literal(value, kind), kind) for name, value, kind in each]
            lines.append(self.lookup(same, self.literal(expected, question.result)))
        lines.append(self.returned(self.literal(question.cases[-1][1], question.result)))
        return indent("\n".join(lines), self.margin + "    ")

    def literal(self, value: object, kind: Type) -> str:
        """A value as the language writes it."""
        match kind, value:
            case ((ListOf() | SetOf()), (list() | tuple() | set() | frozenset())):
                parts = [self.literal(each, kind.element) for each in _ordered(value)]
                return self.list_of(kind, parts) if isinstance(kind, ListOf) else self.set_of(kind, parts)
            case MapOf(), dict():
                pairs = [(self.literal(k, kind.key), self.literal(v, kind.value)) for k, v in value.items()]
                return self.map_of(kind, pairs)
            case Scalar.BOOL, _:
                return self.true if value else self.false
            case Scalar.INT, _:
                return str(value)
            case Scalar.LONG, _:
                return self.long(f"{value}")
            case Scalar.FLOAT, int() | float():
                return repr(float(value))
        return self.string(str(value))

    def string(self, value: str) -> str:
        """A text as C and most others write it."""
        for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
            value = value.replace(character, escape)
        return f'"{value}"'

    def long(self, digits: str) -> str:
        """An integer of 64 bits."""
        return digits

    def identifier(self, name: str) -> str:
        """A Python name as the language's users write it."""
        return name

    def function(self, name: str) -> str:
        """A function's name, likewise."""
        return self.identifier(name)

    @abstractmethod
    def signature(self, question: Question) -> str:
        """The head of the function, up to its body."""

    @abstractmethod
    def type(self, kind: Type) -> str:
        """A type's name."""

    @abstractmethod
    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        """A list of literals."""

    @abstractmethod
    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        """A set of literals."""

    @abstractmethod
    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        """A map of literals."""

    @abstractmethod
    def main(self, tests: str) -> str:
        """The rest of the program, with these tests in it."""

    def same(self, a: str, b: str, kind: Type) -> str:
        """Whether two values of a type are equal."""
        return f"same({a}, {b})"

    def test(self, call: str, expected: str, kind: Type) -> str:
        """A statement that ends the program with an error unless a call returns what is expected."""
        return f"    if (!{self.same(call, expected, kind)}) {self.fail()}"

    def fail(self) -> str:
        """A statement that ends the program."""
        return "fail();"

    def lookup(self, same: list[str], expected: str) -> str:
        """A statement that returns a value if all comparisons hold."""
        return f"if ({' && '.join(same) or self.true}) {{ {self.returned(expected)} }}"

    def returned(self, value: str) -> str:
        """A statement that returns a value."""
        return f"return {value};"

    def _head(self, question: Question) -> str:
        lines = [*(f"{self.comment}{line}".rstrip() for line in question.text.splitlines()), self.signature(question)]
        return indent("\n".join(lines), self.margin) + "\n"

    def _call(self, question: Question, arguments: tuple[object, ...]) -> str:
        values = (self.literal(value, kind) for value, kind in zip(arguments, question.types, strict=True))
        return f"{self.function(question.function)}({', '.join(values)})"

    def _parameters(self, question: Question, template: str) -> str:
        """Parameters, each by a template with `{type}` and `{name}`."""
        both = zip(question.parameters, question.types, strict=True)
        return ", ".join(template.format(type=self.type(kind), name=self.identifier(name)) for name, kind in both)


def camel(name: str) -> str:
    """`camelCase` of `snake_case`."""
    first, *others = [part for part in name.split("_") if part] or [name]
    return first[:1].lower() + first[1:] + "".join(part[:1].upper() + part[1:] for part in others)


def pascal(name: str) -> str:
    """`PascalCase` of `snake_case`."""
    return camel(name)[:1].upper() + camel(name)[1:]


def _ordered(values: "list[object] | tuple[object, ...] | set[object] | frozenset[object]") -> Iterator[object]:
    """In an order that is the same in every run."""
    yield from sorted(values, key=repr) if isinstance(values, set | frozenset) else values
