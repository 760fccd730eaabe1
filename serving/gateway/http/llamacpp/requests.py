"""llama.cpp's wire, inwards: from request bodies to the gateway's requests."""

from serving.gateway.http.llamacpp.schema import CompletionBody, GenerationBody, InfillBody
from serving.gateway.request import CodeRequest, ContextFile, ContextKind, FimPrompt, Prompt, TextPrompt, TokenPrompt
from serving.gateway.sampling import new_seed, of_last
from sharding.step import SamplingParams

_WORDS = {
    "choices": "n_cmpl",
    "least_indent": "n_indent",
    "max_tokens": "n_predict",
    "predict_s": "t_max_predict_ms",
    "repetition_penalty": "repeat_penalty",
}
INFILL_WORDS = {**_WORDS, "prefix": "input_prefix", "context_files": "input_extra"}
"""What the body of an infill calls fields of a `CodeRequest`."""
COMPLETION_WORDS = _WORDS
"""What the body of a completion calls them."""

_TEMPERATURE = 0.8
"""llama.cpp's default."""


def infill_request(body: InfillBody) -> CodeRequest:
    """The request to fill in code. Without a temperature it is greedy; several answers would be the same then, and
    have llama.cpp's default. The pieces of other files that were sent last count most: the plug-ins add new ones
    at the end.
    """
    pieces = enumerate(body.input_extra, 1)
    prompt = FimPrompt(
        prefix=body.input_prefix + body.prompt,
        suffix=body.input_suffix,
        context_files=tuple(
            ContextFile(piece.filename, piece.text, ContextKind.SNIPPET, position / len(body.input_extra))
            for position, piece in pieces
        ),
        may_be_cut=True,
    )
    return _request(body, prompt, 0.0 if body.n_cmpl == 1 else _TEMPERATURE)


def completion_request(body: CompletionBody) -> CodeRequest:
    """The request to continue a prompt, by llama.cpp's default temperature if it has none."""
    prompt = TextPrompt(body.prompt) if isinstance(body.prompt, str) else TokenPrompt(body.prompt)
    return _request(body, prompt, _TEMPERATURE)


def _request(body: GenerationBody, prompt: Prompt, temperature: float) -> CodeRequest:
    return CodeRequest(
        prompt=prompt,
        model=body.model,
        max_tokens=None if body.n_predict < 0 else body.n_predict,
        sampling=of_last(
            SamplingParams(
                temperature=temperature if body.temperature is None else max(body.temperature, 0.0),
                top_k=max(body.top_k, 0),
                top_p=max(body.top_p, 0.0),
                min_p=max(body.min_p, 0.0),
                seed=new_seed() if body.seed == -1 else body.seed,
                presence_penalty=body.presence_penalty,
                frequency_penalty=body.frequency_penalty,
                repetition_penalty=body.repeat_penalty,
            ),
            body.repeat_last_n,
        ),
        logit_bias=body.logit_bias,
        stop=tuple(filter(None, body.stop)),
        choices=body.n_cmpl,
        predict_s=body.t_max_predict_ms / 1000 if body.t_max_predict_ms > 0 else None,
        least_indent=max(body.n_indent, 0),
    )
