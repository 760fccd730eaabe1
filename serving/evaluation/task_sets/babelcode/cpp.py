"""C++."""

from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type
from serving.evaluation.task_sets.babelcode.writer import Writer
from serving.evaluation.toolchains import END_MARK


class CppWriter(Writer):
    """C++17, with all of the standard library and `using namespace std`."""

    language = "cpp"
    title = "C++"
    scalars: ClassVar[dict[Scalar, str]] = {
        Scalar.BOOL: "bool", Scalar.INT: "int", Scalar.LONG: "long long", Scalar.FLOAT: "double",
        Scalar.STRING: "string",
    }  # fmt: skip
    imports = "#include <bits/stdc++.h>\nusing namespace std;\n\n"
    helpers = """\
template <class T> bool same(const T& a, const T& b) { return a == b; }
bool same(double a, double b) { return abs(a - b) <= 1e-6 * max({1.0, abs(a), abs(b)}); }
template <class T> bool same(const vector<T>& a, const vector<T>& b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); i++) if (!same((T)a[i], (T)b[i])) return false;
    return true;
}
template <class K, class V> bool same(const map<K, V>& a, const map<K, V>& b) {
    if (a.size() != b.size()) return false;
    for (auto& [key, value] : a) if (!b.count(key) || !same(value, b.at(key))) return false;
    return true;
}
void fail() { _Exit(1); }

"""

    def signature(self, question: Question) -> str:
        return f"{self.type(question.result)} {question.function}({self._parameters(question, '{type} {name}')}) {{"

    def type(self, kind: Type) -> str:
        match kind:
            case ListOf():
                return f"vector<{self.type(kind.element)}>"
            case SetOf():
                return f"set<{self.type(kind.element)}>"
            case MapOf():
                return f"map<{self.type(kind.key)}, {self.type(kind.value)}>"
        return self.scalars[kind]

    def string(self, value: str) -> str:
        return f"string({super().string(value)})"

    def long(self, digits: str) -> str:
        return f"{digits}LL"

    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        return f"{self.type(kind)}{{{', '.join(parts)}}}"

    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        return f"{self.type(kind)}{{{', '.join(parts)}}}"

    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        return f"{self.type(kind)}{{{', '.join(f'{{{key}, {value}}}' for key, value in pairs)}}}"

    def same(self, a: str, b: str, kind: Type) -> str:
        return f"same(({self.type(kind)}){a}, {b})"

    def main(self, tests: str) -> str:
        return f'\n\nint main() {{\n{tests}\n    cout << endl << "{END_MARK}" << endl;\n}}\n'
