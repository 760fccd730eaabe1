"""Go."""

from typing import ClassVar

from serving.evaluation.task_sets.babelcode.question import Question
from serving.evaluation.task_sets.babelcode.types import ListOf, MapOf, Scalar, SetOf, Type
from serving.evaluation.task_sets.babelcode.writer import Writer, camel
from serving.evaluation.toolchains import END_MARK


class GoWriter(Writer):
    """A function of package main; sets are `map[T]bool`."""

    language = "go"
    title = "Go"
    scalars: ClassVar[dict[Scalar, str]] = {
        Scalar.BOOL: "bool", Scalar.INT: "int", Scalar.LONG: "int", Scalar.FLOAT: "float64", Scalar.STRING: "string",
    }  # fmt: skip
    # Go refuses imports that are not used, so each is used below; the model may use them or not.
    imports = """\
package main

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

"""
    helpers = """\
var _, _, _, _ = sort.Ints, strconv.Itoa, strings.ToUpper, unicode.IsUpper

func same(a, b interface{}) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	switch x.Kind() {
	case reflect.Float64:
		p, q := x.Float(), y.Float()
		return math.Abs(p-q) <= 1e-6*math.Max(1, math.Max(math.Abs(p), math.Abs(q)))
	case reflect.Slice:
		if x.Len() != y.Len() {
			return false
		}
		for i := 0; i < x.Len(); i++ {
			if !same(x.Index(i).Interface(), y.Index(i).Interface()) {
				return false
			}
		}
		return true
	case reflect.Map:
		if x.Len() != y.Len() {
			return false
		}
		for _, key := range x.MapKeys() {
			if !y.MapIndex(key).IsValid() || !same(x.MapIndex(key).Interface(), y.MapIndex(key).Interface()) {
				return false
			}
		}
		return true
	}
	return a == b
}

func fail() { os.Exit(1) }

"""

    def signature(self, question: Question) -> str:
        parameters = self._parameters(question, "{name} {type}")
        return f"func {self.function(question.function)}({parameters}) {self.type(question.result)} {{"

    def identifier(self, name: str) -> str:
        return camel(name)

    def type(self, kind: Type) -> str:
        match kind:
            case ListOf():
                return f"[]{self.type(kind.element)}"
            case SetOf():
                return f"map[{self.type(kind.element)}]bool"
            case MapOf():
                return f"map[{self.type(kind.key)}]{self.type(kind.value)}"
        return self.scalars[kind]

    def list_of(self, kind: ListOf, parts: list[str]) -> str:
        return f"{self.type(kind)}{{{', '.join(parts)}}}"

    def set_of(self, kind: SetOf, parts: list[str]) -> str:
        return f"{self.type(kind)}{{{', '.join(f'{part}: true' for part in parts)}}}"

    def map_of(self, kind: MapOf, pairs: list[tuple[str, str]]) -> str:
        return f"{self.type(kind)}{{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"

    def test(self, call: str, expected: str, kind: Type) -> str:
        return f"\tif !{self.same(call, expected, kind)} {{\n\t\tfail()\n\t}}"

    def lookup(self, same: list[str], expected: str) -> str:
        return f"if {' && '.join(same) or self.true} {{\n    return {expected}\n}}"

    def returned(self, value: str) -> str:
        return f"return {value}"

    def main(self, tests: str) -> str:
        return f'\n\nfunc main() {{\n{tests}\n\tfmt.Println("\\n{END_MARK}")\n}}\n'
