"""Half a surrogate pair is U+FFFD, and nothing else changes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.http.json_surrogates import without_half_pairs

units = st.sampled_from(["\ud83d", "\ude00", "😀", "\\", "\\ud83d", "\\u", '"', "u", "é", "\n"])
texts = st.lists(units, max_size=12).map("".join)


def as_characters(text: str) -> str:
    """What a reader of UTF-16 makes of it."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@given(texts)
def test_every_half_without_its_other_half_is_replaced(text: str) -> None:
    repaired = without_half_pairs(json.dumps(text).encode())
    assert json.loads(repaired) == as_characters(text)


@given(texts)
def test_no_byte_moves(text: str) -> None:
    data = json.dumps(text).encode()
    repaired = without_half_pairs(data)
    assert len(repaired) == len(data)
    if as_characters(text) == text:
        assert repaired == data
