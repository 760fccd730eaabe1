"""Python."""

from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type
from serving.evaluation.task_sets.babelcode.writer import Writer
from serving.evaluation.task_sets.humaneval import STOPS
from serving.evaluation.task_sets.task_set import PYTHON_END


class PythonWriter(Writer):
    """Annotated, as all the other languages have types, too."""

    language = "python"
    title = "Python"
    comment = "# "
    scalars: ClassVar[dict[Scalar, str]] = {
        Scalar.BOOL: "bool", Scalar.INT: "int", Scalar.LONG: "int", Scalar.FLOAT: "float", Scalar.STRING: "str",
    }  # fmt: skip
    true, false = "True", "False"
    helpers = """\
import math as _math


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return _math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


"""

    def signature(self, question: Question) -> str:
        parameters = self._parameters(question, "{name}: {type}")
        return f"def {question.function}({parameters}) -> {self.type(question.result)}:"

    def end(self) -> str:
        return "\n"

    def stops(self) -> list[str]:
        return STOPS

    def type(self, kind: Type) -> str:
        match kind:
            case ListOf():
                return f"list[{self.type(kind.element)}]"
            case SetOf():
                return f"set[{self.type(kind.element)}]"
            case MapOf():
                return f"dict[{self.type(kind.key)}, {self.type(kind.value)}]"
        return self.scalars[kind]

    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        return f"[{', '.join(parts)}]"

    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        return f"{{{', '.join(parts)}}}" if parts else "set()"

    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        return f"{{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"

    def test(self, call: str, expected: str, kind: Type) -> str:
        return f"assert same({call}, {expected})"

    def main(self, tests: str) -> str:
        return f"\n\n{tests}\n{PYTHON_END}"

    def lookup(self, same: list[str], expected: str) -> str:
        return f"if {' and '.join(same) or self.true}: return {expected}"

    def returned(self, value: str) -> str:
        return f"return {value}"
