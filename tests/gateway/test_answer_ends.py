"""What ends an answer beside stop texts: its time, and a line that leaves the block."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.gateway.text.answer_text import TextFilter
from serving.gateway.text.least_indent import LeastIndent
from serving.gateway.text.predict_time import PredictTime


def shown_of(text_filter: TextFilter, pieces: list[str]) -> str:
    """All that a filter shows."""
    shown = ""
    for piece in pieces:
        shown += text_filter.feed(piece)
        if text_filter.stopped:
            return shown
    return shown + text_filter.flush()


def shown_in_time(times: list[float], pieces: list[str]) -> str:
    """What comes until five seconds are over, where the pieces come at these times."""
    clock = iter(times)
    limit = PredictTime(5.0, lambda: next(clock))
    shown = ""
    for piece in pieces:
        shown += piece
        if limit.is_over(piece):
            break
    return shown


def until_dedent(text: str, least: int) -> str:
    """What is to be shown, said of the whole text."""
    lines = text.split("\n")
    last = 0
    for number, line in enumerate(lines[1:], start=1):
        if line.strip():
            if len(line) - len(line.lstrip()) < least:
                return "\n".join(lines[: last + 1])
            last = number
    return text


@settings(deadline=None, max_examples=500)
@example(text="a\n\n  \n b", cuts={2, 3}, least=2)
@given(text=st.text(alphabet="a \t\n", max_size=30), cuts=st.sets(st.integers(0, 30)), least=st.integers(1, 4))
def test_a_text_ends_with_the_last_line_that_is_indented_enough(text: str, cuts: set[int], least: int) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    assert shown_of(LeastIndent(least), pieces) == until_dedent(text, least)


@pytest.mark.parametrize("pieces", [["a\r\n", "\r\nb"], ["a\r", "\nb"], ["a", "\r", "\n", "b"], ["a\r\nb"]])
def test_a_crlf_before_the_line_that_ends_a_text_is_no_part_of_it(pieces: list[str]) -> None:
    assert shown_of(LeastIndent(2), pieces) == "a"


def test_crlf_between_lines_stays_and_so_does_a_lone_carriage_return() -> None:
    assert shown_of(LeastIndent(1), ["a\r", "\n b\r", "c\r"]) == "a\r\n b\rc\r"


def test_a_line_is_shown_as_soon_as_its_indentation_is_known() -> None:
    least = LeastIndent(2)
    assert [least.feed(piece) for piece in ("a", "b\n", "  ", "c", "d")] == ["a", "b", "", "\n  c", "d"]


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ([0.0, 1.0, 2.0, 3.0], "a b\nc d"),  # in time
        ([0.0, 9.0, 9.0, 9.0], "a b\n"),  # too long, once there is a line
        ([0.0, 1.0, 9.0, 9.0], "a b\nc"),
        ([100.0, 101.0, 102.0, 103.0], "a b\nc d"),  # from the first text on, not from the request
    ],
)
def test_an_answer_that_takes_too_long_ends_once_it_has_a_line_break(times: list[float], shown: str) -> None:
    assert shown_in_time(times, ["a", " b\n", "c", " d"]) == shown


def test_the_time_does_not_begin_before_there_is_text() -> None:
    assert shown_in_time([0.0, 100.0, 101.0], ["", "a\n", "b"]) == "a\nb"
