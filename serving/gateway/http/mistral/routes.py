"""The routes of Mistral's fill-in-the-middle API."""

from serving.gateway.http.api import AnswerShape, Api, ApiRoute, BodyHandler, Generation
from serving.gateway.http.call import HttpCall
from serving.gateway.http.framing import SSE
from serving.gateway.http.mistral import shapes
from serving.gateway.http.mistral.answers import StreamedObjects, WholeObject
from serving.gateway.http.mistral.errors import PREFIXES, error_body
from serving.gateway.http.mistral.requests import WORDS, fim_request
from serving.gateway.http.mistral.schema import FimBody


def _fim_completions(call: HttpCall, body: FimBody) -> Generation:
    answer = StreamedObjects if body.stream else WholeObject
    return Generation([fim_request(body)], answer(f"fim-{call.metadata.request_id}"), WORDS)


MISTRAL = Api(
    name="Mistral",
    routes=(
        ApiRoute(
            "POST",
            "/v1/fim/completions",
            BodyHandler(FimBody, _fim_completions),
            "Fill in code",
            AnswerShape(shapes.Completion, shapes.Chunk, SSE, "`data: [DONE]` ends it."),
            {"prompt": "def add(a, b):\n    ", "suffix": "\n\nprint(add(1, 2))", "max_tokens": 32},
        ),
    ),
    error_body=error_body,
    error_shape=shapes.Error,
    prefixes=PREFIXES,
)
