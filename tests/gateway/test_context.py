"""Context for a prompt: within its tokens, in whole lines, in an order that no score changes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.request import ContextFile, FimPrompt
from serving.gateway.text.context import ContextPiece, LeftOut, Stability, pack_context
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.tokenizer import Tokenizer

IMPORT, OPEN_FILE, SNIPPET = Stability.IMPORT, Stability.OPEN_FILE, Stability.SNIPPET


def words(text: str) -> int:
    return len(text.split())


def piece(stability: Stability, path: str, text: str, score: float = 0.5, line: int = 0) -> ContextPiece:
    return ContextPiece(stability=stability, path=path, text=text, score=score, line=line)


pieces = st.builds(
    piece,
    st.sampled_from(Stability),
    st.sampled_from(["a.py", "b.py", "lib/c.py"]),
    st.lists(st.sampled_from(["x = 1\n", "def f(a, b):\n", "    return a + b\n", "\n", "y"]), max_size=6).map("".join),
    st.floats(0, 1),
    st.integers(0, 3),
)
budgets = st.integers(0, 60)


def test_what_changes_least_goes_first_then_by_path_and_line() -> None:
    packed = pack_context(
        [
            piece(SNIPPET, "a.py", "s1\n", score=1.0, line=9),
            piece(SNIPPET, "a.py", "s0\n", score=0.3, line=2),
            piece(OPEN_FILE, "z.py", "o\n"),
            piece(IMPORT, "m.py", "i\n", score=0.0),
        ],
        100,
        words,
    )
    assert [file.text for file in packed.files] == ["i\n", "o\n", "s0\n", "s1\n"]
    assert packed.left_out == ()


def test_the_highest_scores_are_taken_and_the_rest_is_reported() -> None:
    low, high = piece(SNIPPET, "a.py", "a b c\n", score=0.2), piece(SNIPPET, "b.py", "d e f\n", score=0.9)
    packed = pack_context([low, high], 6, words)
    assert packed.files == (ContextFile("b.py", "d e f\n"),)
    assert packed.left_out == (LeftOut(low, 1),)
    assert packed.tokens == 5


def test_of_a_file_the_lines_that_fit_are_taken_and_of_a_snippet_none() -> None:
    file = piece(OPEN_FILE, "a.py", "one two\nthree four\nfive six\n")
    packed = pack_context([file], 6, words)
    assert packed.files == (ContextFile("a.py", "one two\nthree four\n"),)
    assert packed.left_out == (LeftOut(file, 1),)
    assert pack_context([replace(file, stability=SNIPPET)], 6, words).files == ()


def test_a_snippet_that_an_open_file_has_is_not_repeated() -> None:
    file = piece(OPEN_FILE, "a.py", "one\ntwo\nthree\n")
    packed = pack_context([piece(SNIPPET, "a.py", "two\n", score=0.5, line=1), file], 100, words)
    assert packed.files == (ContextFile("a.py", "one\ntwo\nthree\n"),)
    assert packed.left_out == ()


@settings(deadline=None, max_examples=200)
@given(given_pieces=st.lists(pieces, max_size=6), budget=budgets, data=st.data())
def test_the_order_of_the_pieces_does_not_matter(
    given_pieces: list[ContextPiece], budget: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(given_pieces))
    assert pack_context(shuffled, budget, words) == pack_context(given_pieces, budget, words)


@settings(deadline=None, max_examples=200)
@given(given_pieces=st.lists(pieces, max_size=6, unique_by=lambda it: it.path), data=st.data())
def test_scores_never_change_the_order(given_pieces: list[ContextPiece], data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(given_pieces), max_size=len(given_pieces)))
    scored = [replace(it, score=score) for it, score in zip(given_pieces, scores, strict=True)]
    for budget in (10, 20, 1000):
        before, after = pack_context(given_pieces, budget, words).files, pack_context(scored, budget, words).files
        paths, other_paths = [file.path for file in before], [file.path for file in after]
        assert [path for path in paths if path in other_paths] == [path for path in other_paths if path in paths]


@settings(deadline=None, max_examples=200)
@given(given_pieces=st.lists(pieces, max_size=6), budget=budgets)
def test_lines_are_whole_and_none_is_lost_silently(given_pieces: list[ContextPiece], budget: int) -> None:
    packed = pack_context(given_pieces, budget, words)
    assert packed.tokens <= budget
    left_out = {it.piece: it.lines for it in packed.left_out}
    for it in given_pieces:
        lines = it.text.splitlines(keepends=True)
        kept = "".join(lines[: len(lines) - left_out.get(it, 0)])
        assert not kept.strip() or any(file.path == it.path and kept in file.text for file in packed.files)


@settings(deadline=None, max_examples=50)
@given(given_pieces=st.lists(pieces, max_size=5), budget=st.integers(0, 200))
def test_a_prompt_grows_by_no_more_than_the_budget(
    codegemma: Tokenizer, given_pieces: list[ContextPiece], budget: int
) -> None:
    packed = pack_context(given_pieces, budget, lambda text: len(codegemma.encode(text)))
    renderer = PromptRenderer(codegemma, "psm")
    alone = renderer.render(FimPrompt(prefix="x = ", suffix="\n"), 4096)
    together = renderer.render(FimPrompt(prefix="x = ", suffix="\n", context_files=packed.files), 4096)
    assert len(together) == len(alone) + packed.tokens <= len(alone) + budget


@pytest.mark.parametrize("budget", [0, 1])
def test_without_room_all_is_left_out(budget: int) -> None:
    it = piece(IMPORT, "a.py", "x\n")
    assert pack_context([it], budget, words).left_out == (LeftOut(it, 1),)
