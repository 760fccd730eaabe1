"""Java."""

from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type
from serving.evaluation.task_sets.babelcode.writer import Writer, camel
from serving.evaluation.toolchains import END_MARK

_BOXED = {
    Scalar.BOOL: "Boolean", Scalar.INT: "Integer", Scalar.LONG: "Long", Scalar.FLOAT: "Double", Scalar.STRING: "String",
}  # fmt: skip


class JavaWriter(Writer):
    """A static method."""

    language = "java"
    title = "Java"
    margin = "    "
    scalars: ClassVar[dict[Scalar, str]] = {
        Scalar.BOOL: "boolean", Scalar.INT: "int", Scalar.LONG: "long", Scalar.FLOAT: "double", Scalar.STRING: "String",
    }  # fmt: skip
    imports = """\
import java.util.*;
import java.util.stream.*;

public class Main {
"""
    helpers = """\
    static boolean same(Object a, Object b) {
        if (a instanceof Double && b instanceof Double) {
            double x = (Double) a, y = (Double) b;
            return Math.abs(x - y) <= 1e-6 * Math.max(1.0, Math.max(Math.abs(x), Math.abs(y)));
        }
        if (a instanceof List && b instanceof List) {
            List<?> l = (List<?>) a, m = (List<?>) b;
            return l.size() == m.size() && IntStream.range(0, l.size()).allMatch(i -> same(l.get(i), m.get(i)));
        }
        if (a instanceof Map && b instanceof Map) {
            Map<?, ?> l = (Map<?, ?>) a, m = (Map<?, ?>) b;
            return l.keySet().equals(m.keySet()) && l.keySet().stream().allMatch(key -> same(l.get(key), m.get(key)));
        }
        return Objects.equals(a, b);
    }
    static void fail() { Runtime.getRuntime().halt(1); }

"""

    def signature(self, question: Question) -> str:
        head = f"{self.type(question.result)} {camel(question.function)}"
        return f"public static {head}({self._parameters(question, '{type} {name}')}) {{"

    def identifier(self, name: str) -> str:
        return camel(name)

    def type(self, kind: Type) -> str:
        return self.scalars[kind] if isinstance(kind, Scalar) else self._boxed(kind)

    def long(self, digits: str) -> str:
        return f"{digits}L"

    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        return f"new ArrayList<{self._boxed(kind.element)}>({self._some(kind.element, parts)})"

    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        return f"new HashSet<{self._boxed(kind.element)}>({self._some(kind.element, parts)})"

    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        entries = ", ".join(f"Map.entry({key}, {value})" for key, value in pairs)
        types = f"{self._boxed(kind.key)}, {self._boxed(kind.value)}"
        return f"new HashMap<{types}>(Map.<{types}>ofEntries({entries}))"

    def main(self, tests: str) -> str:
        body = f'{tests}\n    System.out.println("\\n{END_MARK}");'
        return f"\n\n    public static void main(String[] arguments) {{\n{body}\n    }}\n}}\n"

    def _some(self, element: Type, parts: list[str]) -> str:
        return f"Arrays.<{self._boxed(element)}>asList({', '.join(parts)})"

    def _boxed(self, kind: Type) -> str:
        match kind:
            case ListOf():
                return f"List<{self._boxed(kind.element)}>"
            case SetOf():
                return f"Set<{self._boxed(kind.element)}>"
            case MapOf():
                return f"Map<{self._boxed(kind.key)}, {self._boxed(kind.value)}>"
        return _BOXED[kind]
