"""The OpenAI wire, inwards: from request bodies to the gateway's requests."""

import random
from dataclasses import replace

from serving.errors import Reason, ServingError
from serving.gateway.http.openai_schema import MAX_PROMPTS, ChatBody, CompletionBody, GenerationBody
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
from sharding.step import SamplingParams

_SPEAKERS = {
    "system": Speaker.SYSTEM,
    "developer": Speaker.SYSTEM,
    "user": Speaker.USER,
    "assistant": Speaker.MODEL,
}
_NAMES = {"choices": "n", "prefix": "prompt", "session_id": "x-session-id", "timeout_s": "timeout"}


def completion_requests(body: CompletionBody, request_id: str) -> list[CodeRequest]:
    """One request for each prompt of the body.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if len(body.prompt) > MAX_PROMPTS:
        raise ServingError(
            Reason.INVALID_ARGUMENT,
            f"prompt is a list of {len(body.prompt)} prompts; at most {MAX_PROMPTS} are allowed.",
            "prompt",
        )
    request = _request(body, request_id, body.logprobs, body.max_tokens)
    return [
        replace(
            request,
            prompt=_prompt(prompt, body.suffix),
            wire_names=_NAMES if len(body.prompt) == 1 else {**_NAMES, "prompt": f"prompt[{position}]"},
        )
        for position, prompt in enumerate(body.prompt)
    ]


def chat_request(body: ChatBody, request_id: str) -> CodeRequest:
    """The request of a conversation.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if body.top_logprobs is not None and not body.logprobs:
        raise ServingError(
            Reason.INVALID_ARGUMENT, "top_logprobs needs logprobs to be true. Set it, or leave it out.", "top_logprobs"
        )
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    newer = body.max_completion_tokens is not None
    request = _request(body, request_id, logprobs, body.max_completion_tokens if newer else body.max_tokens)
    return replace(
        request,
        prompt=ChatPrompt(
            tuple(
                Message(_SPEAKERS[message.role], "".join(part.text for part in message.content))
                for message in body.messages
            )
        ),
        wire_names={
            **_NAMES,
            "logprobs": "top_logprobs",
            "max_tokens": "max_completion_tokens" if newer else "max_tokens",
        },
    )


def _request(body: GenerationBody, request_id: str, logprobs: int | None, max_tokens: int | None) -> CodeRequest:
    return CodeRequest(
        request_id=request_id,
        prompt=TextPrompt(""),
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
    raise ServingError(Reason.INVALID_ARGUMENT, "suffix needs a prompt that is text, not token ids.", "suffix")
