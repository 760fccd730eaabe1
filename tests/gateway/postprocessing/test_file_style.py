"""An answer has the line ends and the indentation of its file."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.gateway.text.postprocessing.file_style import FileStyle
from tests.gateway.postprocessing.pieces import Cut, cuts, shown_of

texts = st.lists(st.sampled_from(["\r\n", "\n", "\r", "\t", "  ", "    ", "x", "y = 1"]), max_size=10).map("".join)


@pytest.mark.parametrize(
    ("prefix", "suffix", "generated", "shown"),
    [
        pytest.param("a\r\nb = ", "\r\nc", "1\nd = 2\r\ne", "1\r\nd = 2\r\ne", id="CR LF"),
        pytest.param("a\nb = ", "\nc", "1\r\nd = 2\ne", "1\nd = 2\ne", id="LF"),
        pytest.param("b = ", "", "1\r\nd\ne", "1\r\nd\ne", id="no line end to go by"),
        pytest.param("a\r\nb\nc = ", "", "1\r\nd\ne", "1\r\nd\ne", id="line ends of both kinds"),
        pytest.param("f:\n\ta\n\t", "", "b\n    c\n        d", "b\n\tc\n\t\td", id="tabs"),
        pytest.param("f:\n\ta\n", "", "    b\n      c", "\tb\n\t\tc", id="tabs, from a line's beginning"),
        pytest.param("f:\n\ta = ", "", "    b\n\tc", "    b\n\tc", id="space inside a line stays"),
        pytest.param("f:\n  a\n    b\n", "", "\tb\n\t\tc", "  b\n    c", id="two spaces"),
        pytest.param("f:\n    a\n", "\n        b", "\tb", "    b", id="four spaces"),
        pytest.param("f\n", "", "\tb\n  c", "\tb\n  c", id="no indentation to go by"),
        pytest.param("/*\n * a\n */\n", "", "\tb", "\tb", id="one space is no indentation"),
    ],
)
def test_an_answer_is_in_the_style_of_its_file(prefix: str, suffix: str, generated: str, shown: str) -> None:
    for pieces in ([generated], list(generated)):
        assert shown_of(FileStyle(prefix, suffix), pieces) == shown


@settings(deadline=None, max_examples=300)
@given(prefix=texts, suffix=texts, cut=cuts(texts))
def test_the_style_is_the_same_however_the_answer_is_cut(prefix: str, suffix: str, cut: Cut) -> None:
    whole = shown_of(FileStyle(prefix, suffix), [cut.text])
    assert shown_of(FileStyle(prefix, suffix), cut.pieces) == whole
    assert re.sub(r"\s", "", whole) == re.sub(r"\s", "", cut.text)


@settings(deadline=None, max_examples=300)
@given(prefix=texts, suffix=texts, cut=cuts(texts))
def test_what_is_added_is_counted_and_little_is_held_back(prefix: str, suffix: str, cut: Cut) -> None:
    style = FileStyle(prefix, suffix)
    fed = shown = ""
    for piece in cut.pieces:
        fed += piece
        shown += style.feed(piece)
        held = len(fed) + style.added - len(shown)
        assert 0 <= held <= len(fed) - len(fed.rstrip(" \t\r"))
    assert len(shown + style.flush()) == len(cut.text) + style.added


@settings(deadline=None, max_examples=300)
@example(prefix="", suffix="\n", text="\r\r\n")
@given(prefix=texts, suffix=texts, text=texts)
def test_a_text_in_the_style_stays_as_it_is(prefix: str, suffix: str, text: str) -> None:
    once = shown_of(FileStyle(prefix, suffix), [text])
    assert shown_of(FileStyle(prefix, suffix), [once]) == once
