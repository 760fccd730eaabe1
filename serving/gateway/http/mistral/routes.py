"""The routes of Mistral's fill-in-the-middle API."""

from typing import Any

from serving.gateway.http.api import Api, ApiRoute, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.mistral.answers import StreamedObjects, WholeObject
from serving.gateway.http.mistral.errors import PREFIXES, error_body
from serving.gateway.http.mistral.requests import WORDS, fim_request
from serving.gateway.http.mistral.schema import FimBody


async def _fim_completions(call: HttpCall) -> Generation:
    def generation(content: dict[str, Any]) -> Generation:
        body = FimBody.model_validate(content)
        answer = StreamedObjects if body.stream else WholeObject
        return Generation([fim_request(body)], answer(f"fim-{call.metadata.request_id}"), WORDS)

    return await call.json(generation)


MISTRAL = Api(
    routes=(ApiRoute("POST", "/v1/fim/completions", _fim_completions),), error_body=error_body, prefixes=PREFIXES
)
