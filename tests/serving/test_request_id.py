"""The id of a request: a client's, as long as it is one plain word."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.request_id import is_request_id, request_id_of

USUAL = [
    "7",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "req_0:1",
    "urn:uuid:f8",
    "aGk/+",
    "a@b.c",
]


@pytest.mark.parametrize("named", [*USUAL, "x" * 128])
def test_what_clients_usually_send_is_the_id(named: str) -> None:
    assert request_id_of(named) == named


@given(st.text(st.characters(max_codepoint=0x250), max_size=140))
def test_whatever_a_client_sends_the_id_is_one_word_that_ends_or_begins_no_field(named: str) -> None:
    assert re.fullmatch(r"[^\s=\"',;|{}\[\]()<>\\%$`&\x00-\x1f\x7f-\U0010ffff]{1,128}", request_id_of(named))


@given(st.text(max_size=140).filter(lambda named: not is_request_id(named)))
def test_for_anything_else_an_id_is_made(named: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", request_id_of(named))
