"""Streams: whatever a text says, a reader of lines finds each part whole."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.http.framing import ndjson_line, sse_event
from serving.gateway.http.json_text import compact_json, one_line_json

_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Where `str.splitlines` ends a line."""
texts = st.text(st.sampled_from(_LINE_ENDS) | st.characters(exclude_categories=["Cs"]), max_size=20)
contents = st.dictionaries(texts, st.lists(texts, max_size=3) | st.integers() | st.none(), max_size=3)


@given(contents)
def test_an_event_is_one_line_of_data_for_every_line_reader(content: dict[str, Any]) -> None:
    head, rest = sse_event(content).decode().split(" ", 1)
    data, *end = rest.splitlines()
    assert (head, end) == ("data:", [""])
    assert json.loads(data) == content


@given(contents)
def test_a_json_line_is_one_line_for_every_line_reader(content: dict[str, Any]) -> None:
    [line] = ndjson_line(content).decode().splitlines()
    assert json.loads(line) == content


@given(texts)
def test_text_without_line_ends_is_the_same_in_events_and_bodies(text: str) -> None:
    printable = "".join(character for character in text if character not in _LINE_ENDS)
    assert one_line_json(printable) == compact_json(printable)


def test_an_event_may_have_a_name() -> None:
    assert sse_event({"a": 1}, "ping") == b'event: ping\ndata: {"a":1}\n\n'
