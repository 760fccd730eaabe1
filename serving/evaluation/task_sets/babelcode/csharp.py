"""C#."""

from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type
from serving.evaluation.task_sets.babelcode.writer import Writer, camel, pascal
from serving.evaluation.toolchains import END_MARK


class CSharpWriter(Writer):
    """A static method, in C# 7, which Mono's compiler knows."""

    language = "csharp"
    title = "C#"
    margin = "    "
    scalars: ClassVar[dict[Scalar, str]] = {
        Scalar.BOOL: "bool", Scalar.INT: "int", Scalar.LONG: "long", Scalar.FLOAT: "double", Scalar.STRING: "string",
    }  # fmt: skip
    imports = """\
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

public class Program {
"""
    helpers = """\
    static bool Same(object a, object b) {
        if (a is double && b is double) {
            double x = (double)a, y = (double)b;
            return Math.Abs(x - y) <= 1e-6 * Math.Max(1.0, Math.Max(Math.Abs(x), Math.Abs(y)));
        }
        var d = a as System.Collections.IDictionary; var e = b as System.Collections.IDictionary;
        if (d != null && e != null)
            return d.Count == e.Count && d.Keys.Cast<object>().All(key => e.Contains(key) && Same(d[key], e[key]));
        var l = a as System.Collections.IList; var m = b as System.Collections.IList;
        if (l != null && m != null)
            return l.Count == m.Count && Enumerable.Range(0, l.Count).All(i => Same(l[i], m[i]));
        return Equals(a, b);
    }
    static bool Same<T>(HashSet<T> a, HashSet<T> b) { return a.SetEquals(b); }
    static void Fail() { Environment.Exit(1); }

"""

    def signature(self, question: Question) -> str:
        head = f"{self.type(question.result)} {pascal(question.function)}"
        return f"public static {head}({self._parameters(question, '{type} {name}')}) {{"

    def identifier(self, name: str) -> str:
        return camel(name)

    def function(self, name: str) -> str:
        return pascal(name)

    def type(self, kind: Type) -> str:
        match kind:
            case ListOf():
                return f"List<{self.type(kind.element)}>"
            case SetOf():
                return f"HashSet<{self.type(kind.element)}>"
            case MapOf():
                return f"Dictionary<{self.type(kind.key)}, {self.type(kind.value)}>"
        return self.scalars[kind]

    def long(self, digits: str) -> str:
        return f"{digits}L"

    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        return f"new {self.type(kind)} {{ {', '.join(parts)} }}"

    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        return f"new {self.type(kind)} {{ {', '.join(parts)} }}"

    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        return f"new {self.type(kind)} {{ {', '.join(f'{{ {key}, {value} }}' for key, value in pairs)} }}"

    def same(self, a: str, b: str, kind: Type) -> str:
        return f"Same({a}, {b})"

    def fail(self) -> str:
        return "Fail();"

    def main(self, tests: str) -> str:
        return f'\n\n    public static void Main() {{\n{tests}\n    Console.WriteLine("\\n{END_MARK}");\n    }}\n}}\n'
