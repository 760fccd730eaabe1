"""The events of a streamed answer."""

import json
from typing import Any

import httpx


def events(response: httpx.Response) -> list[Any]:
    """The data of a stream's events; `[DONE]` as it is."""
    assert response.headers["content-type"].startswith("text/event-stream")
    *records, end = response.text.split("\n\n")
    assert end == ""
    data = [record.removeprefix("data: ") for record in records]
    return [item if item == "[DONE]" else json.loads(item) for item in data]
