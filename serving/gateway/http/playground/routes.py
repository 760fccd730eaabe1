"""The route of the playground that is asked with a key, as those of all APIs are. The page itself is in `page.py`."""

from starlette.responses import Response

from serving.gateway.http.api import Api, ApiRoute
from serving.gateway.http.call import HttpCall
from serving.gateway.http.openai.errors import error_body
from serving.gateway.http.playground.status import model_status_object
from serving.gateway.http.responses import json_response


async def _status(call: HttpCall) -> Response:
    return json_response({"models": list(map(model_status_object, call.service.status()))})


PLAYGROUND = Api(routes=(ApiRoute("GET", "/v1/status", _status),), error_body=error_body)
