"""Api: what an HTTP API gives to the gateway. Each is a package here, and a line in `app.py`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Literal

from starlette.responses import Response

from serving.errors import ServingError
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.call import HttpCall
from serving.gateway.http.framing import Framing
from serving.gateway.http.json_body import WireObject
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


type Reply = Generation | Response
"""What a handler makes of a call. What takes no generation it answers itself."""

type Handler = Callable[[HttpCall], Awaitable[Reply]]
"""Reads a call; raises `ServingError` for what is wrong with it.

Its errors name fields as the wire does; those of the service do so by `ServingError.in_words`.
"""


@dataclass(frozen=True)
class BodyHandler[B: WireObject]:
    """The `Handler` of a route with a body in JSON.

    Attributes:
      body: what the body must be.
      read: reads the body of a call; raises as `HttpCall.json` lets it. Runs in a thread if the body is large; what it
        has to wait for it gives as an awaitable.
      claims: on a path that several APIs have, whether a body is one of this API; None for the API that takes what no
        other claims.
    """

    body: type[B]
    read: Callable[[HttpCall, B], Reply | Awaitable[Reply]]
    claims: Callable[[Mapping[str, Any]], bool] | None = None

    async def __call__(self, call: HttpCall) -> Reply:
        """As `Handler`."""
        reply = await call.json(lambda content: self.interpret(call, content))
        return await reply if isawaitable(reply) else reply

    def interpret(self, call: HttpCall, content: dict[str, Any]) -> Reply | Awaitable[Reply]:
        """What the JSON object of a body says; raises as `HttpCall.json` lets it."""
        return self.read(call, self.body.model_validate(content))


@dataclass(frozen=True)
class AnswerShape:
    """What a route answers, for the description of the API.

    Attributes:
      whole: a type that pydantic can describe, of the JSON body; None: there is none but errors.
      part: the same of each object in a stream; None where nothing is streamed.
      framing: of the stream.
      end: how the stream ends.
    """

    whole: Any = None
    part: Any = None
    framing: Framing | None = None
    end: str = ""


@dataclass(frozen=True)
class ApiRoute:
    """A row in an API's table of routes.

    Attributes:
      path: as Starlette has it: `/v1/models/{name}`.
      handler: reads the requests of admitted callers.
      summary: what it is for, in a few words.
      answer: what comes back.
      example: a body that is answered.
    """

    method: Literal["DELETE", "GET", "HEAD", "POST"]
    path: str
    handler: Handler
    summary: str
    answer: AnswerShape = AnswerShape()
    example: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Api:
    """A wire format.

    Attributes:
      name: for people.
      routes: what it answers.
      error_body: the JSON of an error that takes the place of an answer; status and headers are the same in all APIs.
      error_shape: its type, as in `AnswerShape`.
      prefixes: paths below are refused in its form too, as those below its routes are.
    """

    name: str
    routes: Sequence[ApiRoute]
    error_body: Callable[[ServingError], object]
    error_shape: Any
    prefixes: Sequence[str] = ()


def api_at(path: str, apis: Iterable[Api]) -> Api:
    """The API in whose form a path is refused: the one that has the longest beginning of it, else the first."""

    def begins(api: Api) -> int:
        own = (*api.prefixes, *(route.path.partition("{")[0] for route in api.routes))
        return max((len(prefix) for prefix in own if path.startswith(prefix)), default=0)

    return max(apis, key=begins)
