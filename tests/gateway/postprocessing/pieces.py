"""Texts cut into pieces, and what filters show of them."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from serving.gateway.text.answer_text import TextFilter


class Cut(NamedTuple):
    """A text, and the same text in pieces."""

    text: str
    pieces: list[str]


@st.composite
def cuts(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> Cut:
    text = draw(texts)
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)) | {0, len(text)})
    return Cut(text, [text[start:end] for start, end in itertools.pairwise(places)])


def shown_of(text_filter: TextFilter, pieces: Sequence[str], *, cut: bool = False) -> str:
    """What a filter shows of a text in pieces, which is complete or was cut off."""
    shown = ""
    for piece in pieces:
        shown += text_filter.feed(piece)
        if text_filter.stopped:
            return shown
    return shown + text_filter.flush(cut=cut)
