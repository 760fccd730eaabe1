"""A path that there is says which methods it takes, in the form of its API, to whoever sends another."""

import httpx
import pytest

from serving.errors import Reason, ServingError
from serving.gateway.http.api import api_at
from serving.gateway.http.app import APIS
from tests.security.service import http_ways

TAKEN: dict[str, set[str]] = {}
for way in http_ways():
    TAKEN.setdefault(way.path, set()).add(way.method)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@pytest.mark.parametrize("path", sorted(TAKEN))
async def test_another_method_is_405_with_those_that_are_taken(client: httpx.AsyncClient, path: str) -> None:
    for method in sorted(METHODS - TAKEN[path]):
        answer = await client.request(method, path)
        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) == TAKEN[path]
        assert answer.headers["x-should-retry"] == "false"
        if method != "HEAD":
            taken = ", ".join(sorted(TAKEN[path]))
            error = ServingError(Reason.METHOD_NOT_ALLOWED, f"{path} does not take {method}, but {taken}.")
            assert answer.json() == api_at(path, APIS).error_body(error)
