"""The OpenAI wire, inwards: from request bodies to the gateway's requests."""

import random
from collections.abc import Mapping
from dataclasses import replace

from serving.errors import FieldError, Reason
from serving.gateway.http.openai.schema import MAX_PROMPTS, ChatBody, CompletionBody, GenerationBody
from serving.gateway.request import (
    ChatPrompt,
    CodeRequest,
    FimPrompt,
    Message,
    Prompt,
    Speaker,
    TextPrompt,
    TokenPrompt,
)
from serving.gateway.shown import shown
from sharding.step import SamplingParams

_SPEAKERS = {
    "system": Speaker.SYSTEM,
    "developer": Speaker.SYSTEM,
    "user": Speaker.USER,
    "assistant": Speaker.MODEL,
}
COMPLETION_WORDS = {"choices": "n", "prefix": "prompt", "timeout_s": "timeout"}
"""What a body calls fields of a `CodeRequest`."""


def completion_requests(body: CompletionBody) -> list[CodeRequest]:
    """One request for each prompt of the body.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if len(body.prompt) > MAX_PROMPTS:
        raise FieldError(
            Reason.INVALID_ARGUMENT,
            "prompt",
            f"is a list of {len(body.prompt)} prompts; at most {MAX_PROMPTS} are allowed.",
        )
    prompts = [_prompt(prompt, body.suffix) for prompt in body.prompt]
    first = _request(body, prompts[0], body.logprobs, body.max_tokens)
    return [first, *(replace(first, prompt=prompt) for prompt in prompts[1:])]


def chat_request(body: ChatBody) -> CodeRequest:
    """The request of a conversation.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if body.top_logprobs is not None and not body.logprobs:
        raise FieldError(
            Reason.INVALID_ARGUMENT,
            "top_logprobs",
            f"is {body.top_logprobs}, and logprobs is not true. Set that, or leave it out.",
        )
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    prompt = ChatPrompt(
        tuple(
            Message(_SPEAKERS[message.role], "".join(part.text for part in message.content))
            for message in body.messages
        )
    )
    max_tokens = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    return _request(body, prompt, logprobs, max_tokens)


def chat_words(body: ChatBody) -> Mapping[str, str]:
    """What the body calls fields of its request."""
    max_tokens = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    return {**COMPLETION_WORDS, "logprobs": "top_logprobs", "max_tokens": max_tokens}


def _request(body: GenerationBody, prompt: Prompt, logprobs: int | None, max_tokens: int | None) -> CodeRequest:
    return CodeRequest(
        prompt=prompt,
        model=body.model,
        max_tokens=max_tokens,
        sampling=SamplingParams(
            temperature=body.temperature,
            top_k=body.top_k,
            top_p=body.top_p,
            seed=random.getrandbits(32) if body.seed is None else body.seed,
            logprobs=logprobs,
        ),
        stop=tuple(body.stop),
        choices=body.n,
        timeout_s=body.timeout,
    )


def _prompt(prompt: str | list[int], suffix: str | None) -> Prompt:
    if suffix is None:
        return TextPrompt(prompt) if isinstance(prompt, str) else TokenPrompt(prompt)
    if isinstance(prompt, str):
        return FimPrompt(prefix=prompt, suffix=suffix)
    raise FieldError(
        Reason.INVALID_ARGUMENT, "suffix", f"is {shown(suffix)}, which needs a prompt that is text, not token ids."
    )
