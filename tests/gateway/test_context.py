"""Other files for a prompt: within their tokens, in an order that no score changes, with all that is left out said."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.request import ContextFile, ContextKind
from serving.gateway.text.context import PackedContext, file_text, pack_context
from serving.gateway.text.tokenizer import Tokenizer

IMPORT, OPEN_FILE, SNIPPET = ContextKind
SEPARATOR = 70

files = st.builds(
    ContextFile,
    st.sampled_from(["a.py", "b.py", "lib/c.py"]),
    st.lists(st.sampled_from(["x = 1\n", "def f(a, b):\n", "    return a + b\n", "\n", "y"]), max_size=6).map("".join),
    st.sampled_from(ContextKind),
    st.floats(0, 1),
)
budgets = st.integers(0, 100)


def packed(tokenizer: Tokenizer, given_files: list[ContextFile], budget: int) -> PackedContext:
    return pack_context(given_files, budget, tokenizer, (SEPARATOR,))


def texts(tokenizer: Tokenizer, context: PackedContext) -> list[str]:
    return [tokenizer.decode(ids) for ids in context.files]


def test_what_changes_least_goes_first_then_by_path(codegemma: Tokenizer) -> None:
    context = packed(
        codegemma,
        [
            ContextFile("b.py", "s1\n", SNIPPET, 1.0),
            ContextFile("a.py", "s0\n", SNIPPET, 0.3),
            ContextFile("z.py", "o\n", OPEN_FILE),
            ContextFile("m.py", "i\n", IMPORT, 0.0),
        ],
        100,
    )
    assert texts(codegemma, context) == ["m.py\ni\n", "z.py\no\n", "a.py\ns0\n", "b.py\ns1\n"]
    assert all(ids[-1] == SEPARATOR for ids in context.files)
    assert context.lines_left_out == 0


def test_the_highest_scores_are_taken_and_the_rest_is_counted(codegemma: Tokenizer) -> None:
    low = ContextFile("a.py", "a b c\nd\n", SNIPPET, 0.2)
    high = ContextFile("b.py", "d e f\n", SNIPPET, 0.9)
    budget = len(codegemma.encode(file_text(high))) + 1
    context = packed(codegemma, [low, high], budget)
    assert (texts(codegemma, context), context.lines_left_out) == (["b.py\nd e f\n"], 2)
    assert context.tokens == budget


def test_a_snippet_that_is_much_too_long_keeps_no_other_file_out(codegemma: Tokenizer) -> None:
    long = ContextFile("a.py", "a b c d e f g h\n" * 100, SNIPPET, 1.0)
    short = ContextFile("b.py", "d e f\n", SNIPPET, 0.0)
    context = packed(codegemma, [long, short], 100)
    assert (texts(codegemma, context), context.lines_left_out) == (["b.py\nd e f\n"], 100)


def test_of_a_file_the_lines_that_fit_are_taken_and_of_a_snippet_none(codegemma: Tokenizer) -> None:
    file = ContextFile("a.py", "one two\nthree four\nfive six\n", OPEN_FILE)
    budget = len(codegemma.encode(file_text(file)))  # and no room for the separator
    context = packed(codegemma, [file], budget)
    assert (texts(codegemma, context), context.lines_left_out) == (["a.py\none two\nthree four\n"], 1)
    context = packed(codegemma, [replace(file, kind=SNIPPET)], budget)
    assert (context.files, context.lines_left_out) == ((), 3)


def test_a_snippet_that_an_open_file_has_is_not_repeated(codegemma: Tokenizer) -> None:
    file = ContextFile("a.py", "one\ntwo\nthree\n", OPEN_FILE)
    context = packed(codegemma, [ContextFile("a.py", "two\n", SNIPPET), file], 100)
    assert (texts(codegemma, context), context.lines_left_out) == (["a.py\none\ntwo\nthree\n"], 0)


def test_however_many_files_do_not_fit_few_tokens_are_encoded(
    codegemma: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = codegemma.encode

    def counting(text: str, limit: int | None = None) -> list[int]:
        ids = encode(text, limit)
        encoded.append(len(ids))
        return ids

    monkeypatch.setattr(codegemma, "encode", counting)
    snippets = [ContextFile(f"{number}.py", f"x = {number}\n" * 40, SNIPPET) for number in range(1000)]
    context = packed(codegemma, snippets, 100)
    assert (context.files, context.lines_left_out) == ((), 40_000)
    assert sum(encoded) < 1000


@settings(deadline=None, max_examples=100)
@given(given_files=st.lists(files, max_size=6), budget=budgets, data=st.data())
def test_the_order_of_the_files_does_not_matter(
    codegemma: Tokenizer, given_files: list[ContextFile], budget: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(given_files))
    assert packed(codegemma, shuffled, budget) == packed(codegemma, given_files, budget)


@settings(deadline=None, max_examples=100)
@given(given_files=st.lists(files, max_size=6, unique_by=lambda it: it.path), data=st.data())
def test_scores_never_change_the_order(
    codegemma: Tokenizer, given_files: list[ContextFile], data: st.DataObject
) -> None:
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(given_files), max_size=len(given_files)))
    scored = [replace(it, score=score) for it, score in zip(given_files, scores, strict=True)]
    for budget in (20, 50, 1000):
        paths, other_paths = (
            [text.partition("\n")[0] for text in texts(codegemma, packed(codegemma, each, budget))]
            for each in (given_files, scored)
        )
        assert [path for path in paths if path in other_paths] == [path for path in other_paths if path in paths]


@settings(deadline=None, max_examples=200)
@given(given_files=st.lists(files, max_size=6), budget=budgets)
def test_they_are_within_the_budget_and_no_line_is_lost_unsaid(
    codegemma: Tokenizer, given_files: list[ContextFile], budget: int
) -> None:
    context = packed(codegemma, given_files, budget)
    assert context.tokens <= budget
    whole = {file_text(it) for it in given_files}
    given_texts = texts(codegemma, context)
    for text in given_texts:
        assert text in whole or (text.endswith("\n") and any(it.startswith(text) for it in whole))
    missing = [
        it
        for it in given_files
        if it.text.strip()
        and not any(it.text in text.removeprefix(f"{it.path}\n") for text in given_texts if text.startswith(it.path))
    ]
    assert bool(missing) == bool(context.lines_left_out)
