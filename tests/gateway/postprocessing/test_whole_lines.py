"""Of an answer that is cut off the whole lines are shown, or what there is of the first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.text.postprocessing.whole_lines import WholeLines
from tests.gateway.postprocessing.pieces import Cut, cuts, shown_of

texts = st.lists(st.sampled_from(["\r\n", "\n", "    ", "x = 1", "return y"]), max_size=8).map("".join)


@pytest.mark.parametrize(
    ("prefix", "suffix", "generated", "shown"),
    [
        pytest.param("a = ", "\n", "1\nb = 2\nc =", "1\nb = 2", id="the last line is left out"),
        pytest.param("a = ", "\n", "1\r\nb = 2\r\nc =", "1\r\nb = 2", id="CR LF"),
        pytest.param("a = ", "\n", "1 +", "1 +", id="a first line alone is shown in part"),
        pytest.param("f:\n    ", "\n", "\n    x = ", "\n    x = ", id="blank lines are no lines"),
        pytest.param("f:\n    ", "return x\n", "x = 1\n    y =", "x = 1\n    ", id="before a line of the suffix"),
        pytest.param("f:\n    ", "return x\n", "x = ", "x = \n    ", id="a part of a line before one of the suffix"),
    ],
)
def test_a_cut_answer_has_whole_lines(prefix: str, suffix: str, generated: str, shown: str) -> None:
    for pieces in ([generated], list(generated)):
        assert shown_of(WholeLines(prefix, suffix), pieces, cut=True) == shown


@settings(deadline=None, max_examples=200)
@given(cut=cuts(texts))
def test_a_complete_answer_is_shown_as_it_is(cut: Cut) -> None:
    assert shown_of(WholeLines("a = ", "\n"), cut.pieces) == cut.text


@settings(deadline=None, max_examples=300)
@given(cut=cuts(texts))
def test_a_cut_answer_loses_its_last_line_alone(cut: Cut) -> None:
    shown = shown_of(WholeLines("a = ", "\n"), cut.pieces, cut=True)
    assert shown == shown_of(WholeLines("a = ", "\n"), [cut.text], cut=True)
    assert cut.text.startswith(shown)
    assert "\n" not in cut.text.removeprefix(shown).lstrip("\r\n")


def test_the_first_line_is_shown_as_it_grows_and_others_line_by_line() -> None:
    lines = WholeLines("a = ", "\n")
    assert [lines.feed(piece) for piece in ("1", " + 2", "\n", "b", " = 3\n", "c")] == [
        "1",
        " + 2",
        "",
        "",
        "\nb = 3",
        "",
    ]
