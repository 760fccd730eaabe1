"""Endpoint: answers what comes to a method and path, whatever it is in the form of the API whose it is."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.errors import ServingError
from serving.gateway.call_metadata import SESSION_ID_HEADER, CallMetadata
from serving.gateway.http.answer import StreamedAnswer, WholeAnswer
from serving.gateway.http.api import Generation
from serving.gateway.http.body import read_body
from serving.gateway.http.call import HttpCall
from serving.gateway.http.connection import ClientGoneError, while_connected
from serving.gateway.http.responses import error_response, gone_response, json_response, unexpected
from serving.gateway.http.shared_path import OwnRoute, Reading
from serving.gateway.http.stream import StreamResponse
from serving.gateway.http.times import HttpTimes
from serving.gateway.request import AnswerPart
from serving.gateway.service import CodeService

_WORDS = {"session_id": SESSION_ID_HEADER}
"""What all APIs call fields of a `CodeRequest` that come in headers."""


class Endpoint:
    """The ASGI application of the routes of a method and path."""

    def __init__(
        self,
        routes: Sequence[OwnRoute],
        get_service: Callable[[], CodeService],
        max_body_bytes: int,
        times: HttpTimes,
    ) -> None:
        self._routes = routes
        self._get_service = get_service
        self._max_body_bytes = max_body_bytes
        self._times = times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, if only with an error."""
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        metadata = CallMetadata.read("http", _header(request), route=request.scope["path"])
        client_error = partial(_client_error, metadata.request_id, {})
        reading = Reading(self._routes)
        try:
            service = self._get_service()
            reply = await self._read(request, service, metadata, reading)
            if isinstance(reply, Response):
                return reply
            client_error = partial(_client_error, metadata.request_id, {**_WORDS, **reply.words})
            parts = service.generate(*reply.requests)
            if isinstance(reply.answer, StreamedAnswer):
                refusal = partial(error_response, reading.api)
                return StreamResponse(parts, reply.answer, client_error, refusal, self._times)
            return json_response(await while_connected(request.receive, _whole(parts, reply.answer)))
        except (ClientGoneError, ClientDisconnect):
            return gone_response()
        except Exception as error:
            return error_response(reading.api, client_error(error))

    async def _read(
        self, request: Request, service: CodeService, metadata: CallMetadata, reading: Reading
    ) -> Generation | Response:
        with service.records.reading("http"):
            call = HttpCall(
                service=service,
                metadata=metadata,
                caller=await metadata.caller(service.access),
                path_params=request.path_params,
                query=request.query_params,
                read_body=partial(read_body, request, self._max_body_bytes, self._times.body_s),
            )
            reply = await reading.reply(call)
        if isinstance(reply, Response):
            return reply
        return replace(reply, requests=[call.applied(each) for each in reply.requests])


def _header(request: Request) -> Callable[[str], str]:
    """Gives the first value of a header, or an empty string."""
    values = dict(reversed(request.scope["headers"]))
    return lambda name: values.get(name.encode(), b"").decode("latin-1")


async def _whole(parts: AsyncGenerator[AnswerPart, None], answer: WholeAnswer) -> object:
    async with aclosing(parts):
        async for part in parts:
            answer.add(part)
    return answer.body()


def _client_error(request_id: str, words: Mapping[str, str], error: Exception) -> ServingError:
    """A failure as it is reported to the client."""
    return error.in_words(words) if isinstance(error, ServingError) else unexpected(error, request_id)
