"""Mistral's wire, inwards: from a request body to the gateway's request."""

from serving.gateway.http.mistral.schema import FimBody
from serving.gateway.request import CodeRequest, FimPrompt
from serving.gateway.sampling import new_seed
from sharding.step import SamplingParams

WORDS = {"prefix": "prompt", "seed": "random_seed"}
"""What a body calls fields of a `CodeRequest`."""


def fim_request(body: FimBody) -> CodeRequest:
    """The request of a body; without a suffix, the cursor is at the end of the file."""
    return CodeRequest(
        prompt=FimPrompt(prefix=body.prompt, suffix=body.suffix),
        model=body.model,
        max_tokens=body.max_tokens,
        sampling=SamplingParams(
            temperature=body.temperature,
            top_p=body.top_p,
            seed=new_seed() if body.random_seed is None else body.random_seed,
            presence_penalty=body.presence_penalty,
            frequency_penalty=body.frequency_penalty,
        ),
        stop=tuple(filter(None, body.stop)),
    )
