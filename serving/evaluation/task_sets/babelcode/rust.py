"""Rust."""

from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type
from serving.evaluation.task_sets.babelcode.writer import Writer
from serving.evaluation.toolchains import END_MARK


class RustWriter(Writer):
    """A public function that owns its parameters."""

    language = "rust"
    title = "Rust"
    comment = "/// "
    scalars: ClassVar[dict[Scalar, str]] = {
        Scalar.BOOL: "bool", Scalar.INT: "i32", Scalar.LONG: "i64", Scalar.FLOAT: "f64", Scalar.STRING: "String",
    }  # fmt: skip
    imports = "use std::collections::{HashMap, HashSet};\n\n"
    helpers = """\
trait Same { fn same(&self, other: &Self) -> bool; }
macro_rules! exact { ($($kind:ty),*) => { $(impl Same for $kind {
    fn same(&self, other: &Self) -> bool { self == other }
})* } }
exact!(bool, i32, i64, String);
impl Same for f64 {
    fn same(&self, other: &Self) -> bool { (self - other).abs() <= 1e-6 * 1f64.max(self.abs()).max(other.abs()) }
}
impl<T: Same> Same for Vec<T> {
    fn same(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| a.same(b))
    }
}
impl<T: std::hash::Hash + Eq> Same for HashSet<T> {
    fn same(&self, other: &Self) -> bool { self == other }
}
impl<K: std::hash::Hash + Eq, V: Same> Same for HashMap<K, V> {
    fn same(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, a)| other.get(key).map_or(false, |b| a.same(b)))
    }
}
fn same<T: Same>(a: &T, b: &T) -> bool { a.same(b) }
fn fail() { std::process::exit(1); }

"""

    def signature(self, question: Question) -> str:
        parameters = self._parameters(question, "{name}: {type}")
        return f"pub fn {question.function}({parameters}) -> {self.type(question.result)} {{"

    def type(self, kind: Type) -> str:
        match kind:
            case ListOf():
                return f"Vec<{self.type(kind.element)}>"
            case SetOf():
                return f"HashSet<{self.type(kind.element)}>"
            case MapOf():
                return f"HashMap<{self.type(kind.key)}, {self.type(kind.value)}>"
        return self.scalars[kind]

    def string(self, value: str) -> str:
        return f"String::from({super().string(value)})"

    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        return f"vec![{', '.join(parts)}]"

    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        return f"HashSet::from([{', '.join(parts)}])"

    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        return f"HashMap::from([{', '.join(f'({key}, {value})' for key, value in pairs)}])"

    def same(self, a: str, b: str, kind: Type) -> str:
        return f"same::<{self.type(kind)}>(&{a}, &{b})"

    def test(self, call: str, expected: str, kind: Type) -> str:
        return f"    if !{self.same(call, expected, kind)} {{ fail(); }}"

    def lookup(self, same: list[str], expected: str) -> str:
        return f"if {' && '.join(same) or self.true} {{ return {expected}; }}"

    def main(self, tests: str) -> str:
        return f'\n\nfn main() {{\n{tests}\n    println!("\\n{END_MARK}");\n}}\n'
