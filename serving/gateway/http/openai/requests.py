"""The OpenAI wire, inwards: from request bodies to the gateway's requests."""

from collections.abc import Mapping
from dataclasses import replace

from msgspec.structs import replace as replace_sampling

from serving.errors import FieldError, Reason
from serving.gateway.http.openai.schema import MAX_PROMPTS, ChatBody, CompletionBody, GenerationBody
from serving.gateway.http.sampling import REPEAT_LAST_N
from serving.gateway.request import (
    ChatPrompt,
    CodeRequest,
    ContextFile,
    FimPrompt,
    PostProcessing,
    Prompt,
    TextPrompt,
    TokenPrompt,
)
from serving.gateway.sampling import new_seed, of_last
from serving.gateway.shown import shown
from sharding.step import SamplingParams

_TEMPERATURE_OF_SEVERAL = 1.0
"""OpenAI's default. Where a body says no temperature one choice is greedy, for code is better so; of several it would
make the same answer several times."""
_NO_LIMIT = -1
_WORDS = {"choices": "n", "prefix": "prompt", "stop_ids": "stop_token_ids", "timeout_s": "timeout"}


def completion_requests(body: CompletionBody) -> list[CodeRequest]:
    """One request for each prompt of the body.

    Raises:
      ServingError: INVALID_ARGUMENT; UNSUPPORTED_PARAMETER.
    """
    if len(body.prompt) > MAX_PROMPTS:
        raise FieldError(
            Reason.INVALID_ARGUMENT,
            "prompt",
            f"is a list of {len(body.prompt)} prompts; at most {MAX_PROMPTS} are allowed.",
        )
    prompts = [_prompt(prompt, body) for prompt in body.prompt]
    first = replace(
        _request(body, prompts[0], body.logprobs),
        language=body.language,
        echo=body.echo,
        prompt_logprobs=body.echo and body.logprobs is not None,
    )
    if body.post_processing:
        first = replace(first, post_processing=PostProcessing())
    return [first, *(replace(first, prompt=prompt) for prompt in prompts[1:])]


def chat_request(body: ChatBody) -> CodeRequest:
    """The request of a conversation.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if body.top_logprobs and not body.logprobs:
        raise FieldError(
            Reason.INVALID_ARGUMENT,
            "top_logprobs",
            f"is {body.top_logprobs}, and logprobs is not true. Set that, or leave it out.",
        )
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    prompt = ChatPrompt(tuple(message.message("messages", position) for position, message in enumerate(body.messages)))
    return _request(body, prompt, logprobs)


def words(body: GenerationBody) -> Mapping[str, str]:
    """What a body calls fields of its requests, where that is another name."""
    logprobs = {"logprobs": "top_logprobs"} if isinstance(body, ChatBody) else {}
    max_tokens = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    repetition = {} if body.repeat_penalty is None else {"repetition_penalty": "repeat_penalty"}
    return {**_WORDS, **logprobs, **repetition, "max_tokens": max_tokens}


def _request(body: GenerationBody, prompt: Prompt, logprobs: int | None) -> CodeRequest:
    temperature = body.temperature
    if temperature is None:
        temperature = _TEMPERATURE_OF_SEVERAL if body.n > 1 else 0.0
    max_tokens = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    return CodeRequest(
        prompt=prompt,
        model=body.model,
        max_tokens=None if max_tokens == _NO_LIMIT else max_tokens,
        sampling=_with_penalties(
            SamplingParams(
                temperature=temperature,
                top_k=0 if body.top_k == _NO_LIMIT else body.top_k,
                top_p=body.top_p,
                min_p=body.min_p,
                seed=new_seed() if body.seed is None else body.seed,
                logprobs=logprobs,
            ),
            body,
        ),
        logit_bias=body.logit_bias,
        stop=tuple(body.stop),
        stop_ids=frozenset(body.stop_token_ids),
        choices=body.n,
        timeout_s=body.timeout,
    )


def _with_penalties(sampling: SamplingParams, body: GenerationBody) -> SamplingParams:
    """OpenAI's and vLLM's, or llama.cpp's where the body has one of its words."""
    sampling = replace_sampling(
        sampling,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty if body.repeat_penalty is None else body.repeat_penalty,
    )
    if body.repeat_penalty is None and body.repeat_last_n is None:
        return sampling
    return of_last(sampling, REPEAT_LAST_N if body.repeat_last_n is None else body.repeat_last_n)


def _prompt(prompt: str | list[int], body: CompletionBody) -> Prompt:
    if body.suffix is None and body.context_files:
        raise FieldError(Reason.INVALID_ARGUMENT, "context_files", "needs a suffix, which may be empty.")
    if body.suffix is None:
        return TextPrompt(prompt) if isinstance(prompt, str) else TokenPrompt(prompt)
    if isinstance(prompt, str):
        files = tuple(ContextFile(file.path, file.text) for file in body.context_files)
        return FimPrompt(prefix=prompt, suffix=body.suffix, path=body.path, context_files=files)
    raise FieldError(
        Reason.INVALID_ARGUMENT, "suffix", f"is {shown(body.suffix)}, which needs a prompt that is text, not token ids."
    )
