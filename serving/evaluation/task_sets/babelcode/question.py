"""Question: what BabelCode's raw data say in Python, apart from Python: a function, its types, its cases."""

import ast
import keyword
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from serving.evaluation.task_sets.babelcode.types import Type, UntranslatableError, common, known, type_of

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_WORDS = """
abstract any as base bool break byte case catch char class const continue crate decimal def default defer delete do
double dyn else enum event extends extern false final finally fixed float fn for foreach func function go goto if impl
implements implicit import in inline int interface internal is let lock long loop main map match mod move mut namespace
native new null object operator out override package params private protected public pub range readonly ref register
return sealed select self short signed sizeof static std string struct super switch synchronized template this throw
throws trait transient true try type typealias typedef typename typeof union unsafe unsigned use using val var virtual
void volatile when where while yield eval arguments len max min set list vector array cap copy append print println
error fun time index abs strings
"""
_RESERVED = frozenset(_WORDS.split())
"""Words that mean something in one of the languages, as a name of a parameter."""


@dataclass(frozen=True)
class Question:
    """A function to write.

    Attributes:
      name: of the question.
      text: what the function does.
      function: its name in Python.
      parameters: their names, usable in every language.
      types: of the parameters.
      result: type of what it returns.
      cases: arguments, and what it returns for them.
    """

    name: str
    text: str
    function: str
    parameters: tuple[str, ...]
    types: tuple[Type, ...]
    result: Type
    cases: tuple[tuple[tuple[object, ...], object], ...]


def read_question(line: dict[str, Any]) -> Question:
    """Reads a line of the raw data.

    Raises:
      UntranslatableError: its tests are more than calls and what they return, or its values have no type.
    """
    name = line["entry_fn_name"]
    cases = tuple(_case(statement, name) for statement in _parsed(line["testing_code"]).body)
    count = {len(arguments) for arguments, _ in cases}
    if len(count) != 1:
        raise UntranslatableError("its tests call it with different numbers of arguments")
    if any(a == b and first != second for (a, first), (b, second) in combinations(cases, 2)):
        raise UntranslatableError("its tests tell equal integers and floats apart")
    return Question(
        name=line["title"],
        text=line["text"].strip(),
        function=name,
        parameters=_parameters(line["solution"], name, count.pop()),
        types=tuple(known(common(map(type_of, values))) for values in zip(*(a for a, _ in cases), strict=True)),
        result=known(common(type_of(expected) for _, expected in cases)),
        cases=cases,
    )


def _parsed(code: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of escapes that are none
        return ast.parse(code)


def _case(statement: ast.stmt, function: str) -> tuple[tuple[object, ...], object]:
    """Arguments and result of `assert f(...) == value`, `assert f(...)` or `assert not f(...)`."""
    match statement:
        case ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq() | ast.Is()], comparators=[value])):
            expected = _value(value)
        case ast.Assert(test=ast.Call() as call):
            expected = True
        case ast.Assert(test=ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call)):
            expected = False
        case _:
            raise UntranslatableError("its tests do more than compare what it returns")
    if not isinstance(call.func, ast.Name) or call.func.id != function or call.keywords:
        raise UntranslatableError("its tests call something else")
    return tuple(map(_value, call.args)), expected


def _value(node: ast.expr) -> object:
    """What a literal, or a sum or product of literals, stands for."""
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            first, second = _value(left), _value(right)
            if isinstance(first, int | float) and isinstance(second, int | float):
                return _OPERATORS[type(op)](first, second)
            if isinstance(op, ast.Add) and isinstance(first, str) and isinstance(second, str):
                return first + second
        case ast.Tuple() | ast.List():
            values = [_value(each) for each in node.elts]
            return tuple(values) if isinstance(node, ast.Tuple) else values
    try:
        value: object = ast.literal_eval(node)
    except (ValueError, TypeError):
        raise UntranslatableError("its tests compute their values") from None
    return value


def _parameters(solution: str, function: str, count: int) -> tuple[str, ...]:
    """The solution's names of its parameters; others where they mean something in some language."""
    found: list[str] = []
    for node in ast.walk(_parsed(solution)):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            found = [each.arg for each in node.args.args]
    names = [found[index] if index < len(found) else "" for index in range(count)]
    usable = [
        name and name.isascii() and name.lower() not in _RESERVED and not keyword.iskeyword(name) for name in names
    ]
    clash = len({name.lower().replace("_", "") for name in names}) < count
    return tuple(f"arg{n}" if clash or not usable[n] or name == function else name for n, name in enumerate(names))
