"""The route of the playground that is asked with a key, as those of all APIs are. The page itself is in `page.py`."""

from starlette.responses import Response

from serving.gateway.http.api import AnswerShape, Api, ApiRoute
from serving.gateway.http.call import HttpCall
from serving.gateway.http.openai.errors import error_body
from serving.gateway.http.openai.shapes import Error
from serving.gateway.http.playground import shapes
from serving.gateway.http.playground.status import model_status_object
from serving.gateway.http.responses import json_response


async def _status(call: HttpCall) -> Response:
    return json_response({"models": list(map(model_status_object, call.service.status()))})


PLAYGROUND = Api(
    name="Playground",
    routes=(ApiRoute("GET", "/v1/status", _status, "How it stands with each model", AnswerShape(shapes.Status)),),
    error_body=error_body,
    error_shape=Error,
)
