"""A place in a file that does not fit a model's context: what of it, and of other files, the model is given."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.request import ContextFile, ContextKind, FimPrompt, Truncation
from serving.gateway.text.fim import FimRenderer
from serving.gateway.text.tokenizer import Tokenizer

PREFIX, MIDDLE, SUFFIX, SEPARATOR = 67, 68, 69, 70
LIMIT = 512
CODE = "".join(f"value_{number} = compute({number}, [{number} + 1])\n" for number in range(200))

lines = st.sampled_from(["x = 1\n", "def f(a, b):\n", "    return a + b\n", "\n", "é = '🫨'\n", "a" * 90, "    "])
codes = st.lists(lines, max_size=120).map("".join)
files = st.builds(ContextFile, st.sampled_from(["a.py", "b.py"]), codes, st.sampled_from(ContextKind), st.floats(0, 1))


@pytest.fixture
def renderer(codegemma: Tokenizer) -> FimRenderer:
    return FimRenderer(codegemma, "psm")


def parts(ids: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Other files with BOS, prefix and suffix, of a prompt in the order prefix, suffix, middle."""
    before, after = ids.index(PREFIX), ids.index(SUFFIX)
    return ids[:before], ids[before + 1 : after], ids[after + 1 : -1]


def test_of_a_prefix_the_end_is_kept_and_of_a_suffix_the_beginning(codegemma: Tokenizer, renderer: FimRenderer) -> None:
    rendered = renderer.render(FimPrompt(prefix=CODE + "x = ", suffix="\n" + CODE, may_be_cut=True), LIMIT)
    _, prefix, suffix = parts(rendered.ids)
    before, after = codegemma.decode(prefix), codegemma.decode(suffix)
    assert (CODE + "x = ").endswith(before) and before.startswith("value_")
    assert ("\n" + CODE).startswith(after) and after.endswith("\n")
    assert len(prefix) > 2 * len(suffix) > 0
    assert rendered.truncation == Truncation(len(CODE) + 4 - len(before), len(CODE) + 1 - len(after))


def test_what_fits_is_whole(codegemma: Tokenizer, renderer: FimRenderer) -> None:
    prompt = FimPrompt(prefix=CODE[:800], suffix="\n", may_be_cut=True)
    rendered = renderer.render(prompt, LIMIT)
    assert parts(rendered.ids)[1:] == (codegemma.encode(CODE[:800]), codegemma.encode("\n"))
    assert not rendered.truncation


def test_what_may_not_be_cut_is_too_long(renderer: FimRenderer) -> None:
    for prompt in (FimPrompt(prefix=CODE, suffix=""), FimPrompt(prefix="", suffix=CODE)):
        assert len(renderer.render(prompt, LIMIT).ids) > LIMIT


@pytest.mark.parametrize("characters", [200, 600, 750])
def test_other_files_leave_room_for_code_that_may_not_be_cut(
    codegemma: Tokenizer, renderer: FimRenderer, characters: int
) -> None:
    others = (ContextFile("a.py", CODE),)
    rendered = renderer.render(FimPrompt(prefix=CODE[:characters], suffix="\n", context_files=others), LIMIT)
    assert len(rendered.ids) <= LIMIT - LIMIT // 8
    context, *code = parts(rendered.ids)
    assert code == [codegemma.encode(CODE[:characters]), codegemma.encode("\n")]
    assert len(context) <= LIMIT / 2 + 1
    assert rendered.truncation.parts == ("context",)


@pytest.mark.parametrize("change", ["x", "x = 1\n", "é"])
def test_the_beginning_of_a_prefix_that_is_too_long_seldom_moves(renderer: FimRenderer, change: str) -> None:
    """Each key would otherwise make the model compute all of it."""
    reused = 0
    before: list[int] = []
    for keys in range(60):
        prompt = FimPrompt(prefix=CODE + change * keys, suffix="\n" + CODE, may_be_cut=True)
        ids = renderer.render(prompt, LIMIT).ids
        kept = parts(ids)[1]
        reused += before[:200] == kept[:200]
        before = kept
    assert reused >= 45


def test_other_files_are_the_same_wherever_the_cursor_is(renderer: FimRenderer) -> None:
    others = tuple(ContextFile(f"{name}.py", CODE[:3000], ContextKind.OPEN_FILE) for name in "abcd")
    contexts = {
        tuple(parts(renderer.render(prompt, LIMIT).ids)[0])
        for at in range(0, len(CODE), 300)
        for prompt in [FimPrompt(prefix=CODE[:at], suffix=CODE[at:], context_files=others, may_be_cut=True)]
    }
    [context] = contexts
    assert LIMIT / 4 < len(context) <= LIMIT / 2 + 1


@settings(deadline=None, max_examples=150)
@given(
    prefix=codes,
    suffix=codes,
    others=st.lists(files, max_size=4).map(tuple),
    limit=st.integers(40, 400),
    fim_format=st.sampled_from(["psm", "spm"]),
)
def test_a_prompt_that_may_be_cut_leaves_room_for_an_answer_and_says_what_it_lacks(
    codegemma: Tokenizer,
    prefix: str,
    suffix: str,
    others: tuple[ContextFile, ...],
    limit: int,
    fim_format: Literal["psm", "spm"],
) -> None:
    prompt = FimPrompt(prefix=prefix, suffix=suffix, path="m.py", context_files=others, may_be_cut=True)
    rendered = FimRenderer(codegemma, fim_format).render(prompt, limit)
    assert len(rendered.ids) <= limit - limit // 8
    whole = FimRenderer(codegemma, fim_format).render(FimPrompt(prefix=prefix, suffix=suffix), 100_000)
    assert not whole.truncation
    code = rendered.ids[min(rendered.ids.index(sentinel) for sentinel in (PREFIX, SUFFIX)) :]
    is_whole = "prefix" not in rendered.truncation.parts and "suffix" not in rendered.truncation.parts
    assert is_whole == (code == whole.ids[1:])


def test_of_a_model_that_sees_no_suffix_the_prefix_is_cut_alone(gemma3: Tokenizer) -> None:
    prompt = FimPrompt(prefix=CODE + "x = ", suffix=CODE, may_be_cut=True)
    rendered = FimRenderer(gemma3, "psm").render(prompt, LIMIT)
    text = gemma3.decode(rendered.ids)
    assert (CODE + "x = ").endswith(text)
    assert rendered.truncation == Truncation(prefix_characters=len(CODE) + 4 - len(text))
    assert LIMIT / 2 < len(rendered.ids) <= LIMIT - LIMIT // 8
