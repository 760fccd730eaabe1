"""What a request may ask for: ranges, sizes, the context of a model, and the answers that are too large."""

from dataclasses import replace
from typing import Any

import pytest

from serving.errors import Reason, ServingError
from serving.gateway import validation
from serving.gateway.request import (
    ChatPrompt,
    ContextFile,
    FimPrompt,
    Message,
    Prompt,
    Speaker,
    TextPrompt,
    TokenPrompt,
)
from serving.gateway.routing import Router
from sharding.step import SamplingParams
from tests.gateway.asking import CHAT_PROMPT, TEXT_PROMPT, answer, code_request, refusal
from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend, one_model_service


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"sampling": SamplingParams(temperature=-0.1)}, "temperature"),
        ({"sampling": SamplingParams(temperature=2.1)}, "temperature"),
        ({"sampling": SamplingParams(temperature=float("nan"))}, "temperature"),
        ({"sampling": SamplingParams(top_p=-0.1)}, "top_p"),
        ({"sampling": SamplingParams(top_p=float("nan"))}, "top_p"),
        ({"sampling": SamplingParams(top_k=-1)}, "top_k"),
        ({"sampling": SamplingParams(logprobs=-1)}, "logprobs"),
        ({"sampling": SamplingParams(logprobs=21)}, "logprobs"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"choices": 0}, "choices"),
        ({"choices": 9}, "choices"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"stop": ("x",) * 65}, "stop"),
        ({"stop_ids": frozenset(range(65))}, "stop_ids"),
        ({"prompt": TextPrompt("")}, "prompt"),
        ({"prompt": TokenPrompt(())}, "prompt"),
        ({"prompt": TokenPrompt((2, 256_000))}, "prompt[1]"),
        ({"prompt": FimPrompt(prefix="", suffix="")}, "prefix"),
        ({"prompt": ChatPrompt(())}, "messages"),
    ],
)
async def test_a_field_out_of_range_is_named_and_nothing_is_generated(
    backend: ScriptedBackend, fields: dict[str, Any], field: str
) -> None:
    error = await refusal(one_model_service(backend), replace(code_request(), **fields))
    assert (error.reason, error.field) == (Reason.INVALID_ARGUMENT, field)
    assert error.message.startswith(field)
    assert not backend.requests


MANY_TURNS = (Message(Speaker.USER, "x"), Message(Speaker.MODEL, "y")) * 2048 + (Message(Speaker.USER, "z"),)
TOO_MUCH: list[tuple[dict[str, Any], str, str]] = [
    ({"stop": ("x",) * 65}, "stop", "stop has 65 texts; at most 64 are allowed."),
    ({"stop": ("x", "y" * 1025)}, "stop[1]", "stop[1] has 1025 characters; at most 1024 are allowed."),
    ({"session_id": "x" * 1025}, "session_id", "session_id has 1025 characters; at most 1024 are allowed."),
    ({"prompt": ChatPrompt(MANY_TURNS)}, "messages", "messages has 4097 messages; at most 4096 are allowed."),
    (
        {"logit_bias": (("x" * 2048, 1.0), (7, 1.0), ("y" * 2049, 1.0))},
        "logit_bias",
        "logit_bias has 4097 characters in texts; at most 4096 are allowed.",
    ),
    (
        {"prompt": FimPrompt(prefix="x", suffix="", path="p" * 1025)},
        "path",
        "path has 1025 characters; at most 1024 are allowed.",
    ),
    ({"logit_bias": ((1, 1.0),) * 301}, "logit_bias", "logit_bias has 301 tokens; at most 300 are allowed."),
    (
        {"prompt": FimPrompt(prefix="x", suffix="", context_files=(ContextFile("", ""),) * 1025)},
        "context_files",
        "context_files has 1025 files; at most 1024 are allowed.",
    ),
]


@pytest.mark.parametrize(("fields", "field", "message"), TOO_MUCH)
async def test_more_than_anything_looks_at_is_refused_before_all_else(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], field: str, message: str
) -> None:
    monkeypatch.setattr(Router, "route", None)
    service, request = one_model_service(backend), code_request(**fields)
    error = await refusal(service, request)
    assert (error.reason, error.field, error.message) == (Reason.INVALID_ARGUMENT, field, message)
    with pytest.raises(ServingError, match=message.partition("[")[0]):
        await service.count_tokens(request)


class UnreadIds(tuple[int, ...]):
    """Token ids that nothing but their number may be asked for."""

    __slots__ = ()

    def __len__(self) -> int:
        return 4 * 2**20

    def __iter__(self) -> Any:
        raise AssertionError

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError


async def test_token_ids_are_counted_before_anything_looks_at_them(backend: ScriptedBackend) -> None:
    error = await refusal(one_model_service(backend), code_request(TokenPrompt(UnreadIds())))
    assert error.reason is Reason.CONTEXT_LENGTH_EXCEEDED


async def test_the_limits_themselves_are_allowed(backend: ScriptedBackend) -> None:
    for sampling in (
        SamplingParams(temperature=2, top_p=1, top_k=256_000, seed=2**32 - 1, logprobs=20),
        SamplingParams(temperature=0, top_p=1e-6, top_k=0, seed=0, logprobs=0),
    ):
        request = code_request(
            sampling=sampling, choices=8, stop=("x" * 1024,) * 16, session_id="s" * 1024, max_tokens=1
        )
        assert len((await answer(one_model_service(backend), request))[0]) >= 8


async def test_a_fault_names_the_field_the_value_and_what_is_allowed(backend: ScriptedBackend) -> None:
    error = await refusal(one_model_service(backend), code_request(choices=9))
    assert (error.field, error.message) == ("choices", "choices is 9; allowed is 1 to 8.")
    error = await refusal(one_model_service(backend), code_request(TokenPrompt((2, -1))))
    assert error.field == "prompt[1]"
    assert error.message.startswith("prompt[1] is -1; ")


@pytest.mark.parametrize(
    "prompt", [TextPrompt(" a" * MAX_CONTEXT), TextPrompt("long " * 10**6), TokenPrompt((2,) * 512)]
)
async def test_a_prompt_as_long_as_the_context_is_refused_with_the_limit(
    backend: ScriptedBackend, prompt: Prompt
) -> None:
    service = one_model_service(backend)
    error = await refusal(service, code_request(prompt))
    assert (error.reason, error.field) == (Reason.CONTEXT_LENGTH_EXCEEDED, "prompt")
    assert f"maximum context length is {MAX_CONTEXT} tokens" in error.message
    with pytest.raises(ServingError, match="the prompt is too long"):
        await service.count_tokens(code_request(prompt))


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (FimPrompt(prefix="", suffix=" b" * MAX_CONTEXT), "prefix"),
        (ChatPrompt((Message(Speaker.USER, " a" * MAX_CONTEXT),)), "messages"),
    ],
)
async def test_a_structured_prompt_that_is_too_long_is_named(
    backend: ScriptedBackend, prompt: Prompt, field: str
) -> None:
    error = await refusal(one_model_service(backend), code_request(prompt))
    assert (error.reason, error.field) == (Reason.CONTEXT_LENGTH_EXCEEDED, field)


async def test_max_tokens_are_at_most_the_room_that_the_prompt_leaves(backend: ScriptedBackend) -> None:
    service = one_model_service(backend)
    prompt = TokenPrompt((2,) * (MAX_CONTEXT - 10))
    for max_tokens in (9, 10, 11, 10**30, None):
        await answer(service, code_request(prompt, max_tokens=max_tokens))
    assert [request.max_tokens for request in backend.requests] == [9, 10, 10, 10, 10]


async def test_without_max_tokens_a_completion_has_the_default_and_a_chat_all_the_room(
    backend: ScriptedBackend,
) -> None:
    service = one_model_service(backend)
    await answer(service, code_request(TEXT_PROMPT))
    await answer(service, code_request(CHAT_PROMPT))
    completion, chat = backend.requests
    assert (completion.max_tokens, chat.max_tokens) == (MAX_CONTEXT // 4, MAX_CONTEXT - len(chat.prompt_ids))


async def test_more_log_probabilities_than_an_answer_may_have_are_refused_or_shorten_what_nobody_asked_for(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "MAX_ANSWER_LOGPROBS", 1000)
    service = one_model_service(backend)
    request = code_request(CHAT_PROMPT, sampling=SamplingParams(logprobs=20), choices=8)
    error = await refusal(service, replace(request, max_tokens=6))
    assert (error.reason, error.field) == (Reason.INVALID_ARGUMENT, "logprobs")
    await answer(service, replace(request, max_tokens=5))
    await answer(service, request)
    assert {each.max_tokens for each in backend.requests} == {5}  # 5 x 8 x 21 are 840
