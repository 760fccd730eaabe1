"""Kotlin."""

from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type
from serving.evaluation.task_sets.babelcode.writer import Writer, camel
from serving.evaluation.toolchains import END_MARK


class KotlinWriter(Writer):
    """A function at the top of a file."""

    language = "kotlin"
    title = "Kotlin"
    scalars: ClassVar[dict[Scalar, str]] = {
        Scalar.BOOL: "Boolean", Scalar.INT: "Int", Scalar.LONG: "Long", Scalar.FLOAT: "Double", Scalar.STRING: "String",
    }  # fmt: skip
    helpers = """\
fun same(a: Any?, b: Any?): Boolean {
    if (a is Double && b is Double)
        return Math.abs(a - b) <= 1e-6 * maxOf(1.0, Math.abs(a), Math.abs(b))
    if (a is List<*> && b is List<*>)
        return a.size == b.size && a.indices.all { same(a[it], b[it]) }
    if (a is Map<*, *> && b is Map<*, *>)
        return a.keys == b.keys && a.keys.all { same(a[it], b[it]) }
    return a == b
}
fun fail() { Runtime.getRuntime().halt(1) }

"""

    def signature(self, question: Question) -> str:
        parameters = self._parameters(question, "{name}: {type}")
        return f"fun {camel(question.function)}({parameters}): {self.type(question.result)} {{"

    def identifier(self, name: str) -> str:
        return camel(name)

    def type(self, kind: Type) -> str:
        match kind:
            case ListOf():
                return f"List<{self.type(kind.element)}>"
            case SetOf():
                return f"Set<{self.type(kind.element)}>"
            case MapOf():
                return f"Map<{self.type(kind.key)}, {self.type(kind.value)}>"
        return self.scalars[kind]

    def string(self, value: str) -> str:
        return super().string(value).replace("$", "\\$")

    def long(self, digits: str) -> str:
        return f"{digits}L"

    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        return f"listOf<{self.type(kind.element)}>({', '.join(parts)})"

    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        return f"setOf<{self.type(kind.element)}>({', '.join(parts)})"

    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        entries = ", ".join(f"{key} to {value}" for key, value in pairs)
        return f"mapOf<{self.type(kind.key)}, {self.type(kind.value)}>({entries})"

    def returned(self, value: str) -> str:
        return f"return {value}"

    def fail(self) -> str:
        return "fail()"

    def main(self, tests: str) -> str:
        return f'\n\nfun main() {{\n{tests}\n    println("\\n{END_MARK}")\n}}\n'
