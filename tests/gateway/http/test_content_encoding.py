"""Packed bodies: unpacked within the limit, however they come."""

import gzip
import itertools

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Reason, ServingError
from serving.gateway.http.content_encoding import decoder
from tests.gateway.conftest import MAX_BODY_BYTES

BODY = b'{"prompt": "x"}'


def unpacked(encoding: str, parts: list[bytes], most: int) -> bytes:
    packed, body = decoder(encoding), b""
    for part in parts:
        body += packed.feed(part, most - len(body))
    packed.end()
    return body


@given(data=st.binary(max_size=500), cuts=st.sets(st.integers(0, 500), max_size=5))
def test_a_body_comes_in_any_parts(data: bytes, cuts: set[int]) -> None:
    for encoding, packed in (("gzip", gzip.compress(data)), ("", data), ("identity", data)):
        edges = [0, *sorted(cuts), len(packed)]
        parts = [packed[start:end] for start, end in itertools.pairwise(edges)]
        assert unpacked(encoding, parts, len(data)) == data


def test_no_more_is_unpacked_than_tells_that_it_is_too_much() -> None:
    bomb = gzip.compress(bytes(10**7))
    assert len(decoder("gzip").feed(bomb, 1000)) == 1001


@pytest.mark.parametrize(
    "body",
    [BODY, gzip.compress(BODY)[:-1], gzip.compress(BODY) + b"x", gzip.compress(BODY) * 2, b""],
    ids=["plain", "cut", "more", "twice", "empty"],
)
def test_what_is_not_one_whole_packed_body_is_malformed(body: bytes) -> None:
    with pytest.raises(ServingError) as error:
        unpacked("gzip", [body], 1000)
    assert error.value.reason is Reason.MALFORMED_BODY


async def test_a_body_that_unpacks_to_too_much_is_too_large(client: httpx.AsyncClient) -> None:
    body = gzip.compress(b'{"prompt": "%b"}' % (b"x" * MAX_BODY_BYTES))
    response = await client.post("/v1/completions", content=body, headers={"content-encoding": "gzip"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd", "deflate"])
async def test_another_encoding_is_refused_by_its_name(client: httpx.AsyncClient, encoding: str) -> None:
    response = await client.post("/v1/completions", content=BODY, headers={"content-encoding": encoding})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "content-encoding")
    assert encoding in error["message"]
