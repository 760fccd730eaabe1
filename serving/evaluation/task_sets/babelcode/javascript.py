"""JavaScript."""

from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type
from serving.evaluation.task_sets.babelcode.writer import Writer, camel
from serving.evaluation.toolchains import END_MARK


class JavaScriptWriter(Writer):
    """A function for Node. Maps are `Map`, as an object's keys are texts."""

    language = "javascript"
    title = "JavaScript"
    scalars: ClassVar[dict[Scalar, str]] = {}
    helpers = """\
function same(a, b) {
    if (typeof a === "number" && typeof b === "number")
        return Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a), Math.abs(b));
    if (Array.isArray(a) && Array.isArray(b))
        return a.length === b.length && a.every((value, i) => same(value, b[i]));
    if (a instanceof Set && b instanceof Set)
        return a.size === b.size && [...a].every((value) => b.has(value));
    if (a instanceof Map && b instanceof Map)
        return a.size === b.size && [...a].every(([key, value]) => b.has(key) && same(value, b.get(key)));
    return a === b;
}
function fail() { process.exit(1); }

"""

    def signature(self, question: Question) -> str:
        return f"function {camel(question.function)}({self._parameters(question, '{name}')}) {{"

    def identifier(self, name: str) -> str:
        return camel(name)

    def type(self, kind: Type) -> str:
        return ""

    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        return f"[{', '.join(parts)}]"

    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        return f"new Set([{', '.join(parts)}])"

    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        return f"new Map([{', '.join(f'[{key}, {value}]' for key, value in pairs)}])"

    def main(self, tests: str) -> str:
        return f'\n\n{tests}\nconsole.log("\\n{END_MARK}");\n'
