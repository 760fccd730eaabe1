"""Questions in Python become programs in eight languages that compile and test what they should."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.evaluation.sandbox import Sandbox
from serving.evaluation.task import Task
from serving.evaluation.task_sets.babelcode.question import read_question
from serving.evaluation.task_sets.babelcode.types import (
    ListOf,
    MapOf,
    Scalar,
    SetOf,
    UntranslatableError,
    common,
    known,
    type_of,
)
from serving.evaluation.task_sets.catalogue import TASK_SETS
from serving.evaluation.toolchains import LANGUAGES, MissingToolchainError, find_toolchain

TESTS = r"""
assert look_up([1, 2], {'a$"\\': 1.5}, 'x\n"$', True, 4000000000, {3}, []) == [['é'], []]
assert look_up([], {}, '', False, 1, set(), [[], ['a']]) == []
assert look_up([-1], {'b': 2}, 'y', True, 3 * 5 - 1, {1, 2}, [['b']]) == [['b']]
"""


def line(
    tests: str, function: str = "look_up", parameters: str = "numbers, map, some_text, d, e, f, g"
) -> dict[str, Any]:
    return {
        "id": "11",
        "title": "MBPP/11",
        "text": "Look it up.\nIn a table.",
        "testing_code": tests,
        "solution": f"def {function}({parameters}):\n    pass",
        "entry_fn_name": function,
    }


@pytest.fixture(params=LANGUAGES)
def task(request: pytest.FixtureRequest) -> Iterator[tuple[str, Task]]:
    """A question with every type, in each language that this machine can run."""
    tasks, left_out = TASK_SETS[f"babelcode-mbpp-{request.param}"].read([line(TESTS)])
    assert not left_out
    yield request.param, tasks[0]


async def test_the_right_answer_passes_and_others_do_not(task: tuple[str, Task], sandbox: Sandbox) -> None:
    language, asked = task
    try:
        toolchain = find_toolchain(language)
    except MissingToolchainError as error:
        pytest.skip(str(error))
    outcome = await sandbox.run(asked.program(asked.canonical), toolchain)
    assert outcome.passed, outcome
    wrong = asked.canonical.replace("é", "e")
    assert wrong != asked.canonical
    assert not (await sandbox.run(asked.program(wrong), toolchain)).passed


async def test_a_method_is_not_named_as_its_class(sandbox: Sandbox) -> None:
    """HumanEval/121 asks for `solution`, in C# `Solution`."""
    try:
        toolchain = find_toolchain("csharp")
    except MissingToolchainError as error:
        pytest.skip(str(error))
    tasks, _ = TASK_SETS["babelcode-mbpp-csharp"].read([line("assert solution(1) == 2", "solution", "n")])
    outcome = await sandbox.run(tasks[0].program(tasks[0].canonical), toolchain)
    assert outcome.passed, outcome


def test_the_model_sees_what_to_do_and_the_head_of_the_function_only(task: tuple[str, Task]) -> None:
    prompt = str(task[1].request["prompt"])
    assert "Look it up." in prompt
    assert "same" not in prompt.lower()
    assert task[1].before.endswith(prompt[prompt.index("Look it up.") :])


def test_names_that_mean_something_in_a_language_are_replaced() -> None:
    question = read_question(line("assert look_up(1, 2, 3) == 1", parameters="func, n, look_up"))
    assert question.parameters == ("arg0", "n", "arg2")


@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ("assert abs(look_up(1) - 2) < 1e-6", "do more than compare"),
        ("assert look_up(1)[0] == 2", "do more than compare"),
        ("assert other(1) == 2", "call something else"),
        ("assert look_up(x) == 2", "compute their values"),
        ("assert look_up(1) == None", "no type in every language"),
        ("assert look_up([1, 'a']) == 2", "several types are mixed"),
        ("assert look_up(1) == 10 ** 30", "compute their values"),
        ("assert look_up(100000000000000000000) == 1", "beyond 64 bits"),
        ("assert look_up({1.5: 2}) == 1", "a key is neither"),
        ("assert look_up(3.0) == False\nassert look_up(3) == True", "integers and floats apart"),
        ("assert look_up(1) == 1\nassert look_up(1, 2) == 1", "different numbers"),
    ],
)
def test_what_not_every_language_can_say_is_left_out_with_its_reason(tests: str, why: str) -> None:
    tasks, left_out = TASK_SETS["babelcode-mbpp-cpp"].read([line(tests)])
    assert not tasks
    assert why in left_out[0]


VALUES = st.recursive(
    st.booleans() | st.integers(-(1 << 40), 1 << 40) | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab"),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text("ab"), values, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_a_common_type_does_not_depend_on_the_order_and_leaves_nothing_unknown(values: list[object]) -> None:
    try:
        kind = common(map(type_of, values))
    except UntranslatableError:
        with pytest.raises(UntranslatableError):
            common(map(type_of, reversed(values)))
        return
    assert common(map(type_of, reversed(values))) == kind
    assert "unknown" not in repr(known(kind)).lower()


def test_types() -> None:
    assert type_of([[1], [], [2.5]]) == ListOf(ListOf(Scalar.FLOAT))
    assert type_of((1, 1 << 40)) == ListOf(Scalar.LONG)
    assert type_of({"a": {1}}) == MapOf(Scalar.STRING, SetOf(Scalar.INT))
    assert type_of(True) is Scalar.BOOL
