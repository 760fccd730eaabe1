"""Api: what an HTTP API gives to the gateway. Each is a package here, and a line in `app.py`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from starlette.responses import Response

from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.call import HttpCall
from serving.gateway.request import CodeRequest


@dataclass(frozen=True)
class Generation:
    """What is to be generated for a call, and how it is written.

    Attributes:
      requests: their answers are one, with choice `c` of request `r` at the index `r * choices + c`.
      answer: writes it.
      words: what the API calls fields of a `CodeRequest`, where that is another name (`choices` -> `n`).
    """

    requests: Sequence[CodeRequest]
    answer: WholeAnswer | StreamedAnswer
    words: Mapping[str, str] = field(default_factory=dict)


type Handler = Callable[[HttpCall], Awaitable[Generation | Response]]
"""Reads a call; raises `ServingError` for what is wrong with it. What takes no generation it answers itself.

Its errors name fields as the wire does; those of the service do so by `ServingError.in_words`.
"""


@dataclass(frozen=True)
class ApiRoute:
    """A row in an API's table of routes.

    Attributes:
      path: as Starlette has it: `/v1/models/{name}`.
      handler: reads what comes there from somebody who may ask.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler


@dataclass(frozen=True)
class Api:
    """A wire format.

    Attributes:
      routes: what it answers.
      error_body: the JSON of an error that takes the place of an answer; status and headers are the same in all APIs.
      prefixes: paths below are refused in its form too, as those below its routes are.
    """

    routes: Sequence[ApiRoute]
    error_body: Callable[[ServingError], object]
    prefixes: Sequence[str] = ()


def api_at(path: str, apis: Iterable[Api]) -> Api:
    """The API in whose form a path is refused: the one that has the longest beginning of it, else the first."""

    def begins(api: Api) -> int:
        own = (*api.prefixes, *(route.path.partition("{")[0] for route in api.routes))
        return max((len(prefix) for prefix in own if path.startswith(prefix)), default=0)

    return max(apis, key=begins)
