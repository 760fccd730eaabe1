"""CodeService over a scripted backend: routing, validation, choices, stops, failures, closing."""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from serving.config import GatewayConfig, Role, RouteConfig, RoutingConfig
from serving.engine.request import FinishReason, GenerationChunk, Priority
from serving.errors import Reason, ServingError
from serving.gateway import validation
from serving.gateway.request import (
    ChatPrompt,
    CodeRequest,
    ContextFile,
    End,
    FimPrompt,
    Message,
    Piece,
    Prompt,
    Speaker,
    TextPrompt,
    TokenPrompt,
    Usage,
)
from serving.gateway.routing import Router
from serving.gateway.service import CodeService
from serving.gateway.single_flight import SingleFlight
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import SamplingParams
from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend, one_model_service, served_model

FIM_PROMPT = FimPrompt(prefix="def f():\n    ", suffix="\n")
CHAT_PROMPT = ChatPrompt((Message(Speaker.USER, "Hi"),))
TEXT_PROMPT = TextPrompt("def f")
TOKEN_PROMPT = TokenPrompt((2, 1645))


def code_request(prompt: Prompt = TEXT_PROMPT, **fields: Any) -> CodeRequest:
    return CodeRequest(request_id="r", prompt=prompt, **fields)


async def answer(service: CodeService, *requests: CodeRequest) -> tuple[list[Piece], End]:
    async with aclosing(service.generate(*requests)) as answer:
        parts = [part async for part in answer]
    *pieces, end = parts
    assert isinstance(end, End)
    assert all(isinstance(piece, Piece) for piece in pieces)
    return [piece for piece in pieces if isinstance(piece, Piece)], end


def text_in(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


async def text_of(service: CodeService, request: CodeRequest) -> str:
    return text_in((await answer(service, request))[0])


async def refusal(service: CodeService, *requests: CodeRequest) -> ServingError:
    with pytest.raises(ServingError) as error:
        await answer(service, *requests)
    return error.value


def two_models(fim: ScriptedBackend, chat: ScriptedBackend) -> CodeService:
    models = [served_model(fim, "codegemma-2b", Role.FIM, aliases=("small",)), served_model(chat, "it", Role.CHAT)]
    return CodeService(models, GatewayConfig())


async def test_every_piece_says_which_model_in_which_version_answers(backend: ScriptedBackend):
    backend.text = "x"
    service = two_models(backend, backend)
    for prompt, model in ((FIM_PROMPT, "codegemma-2b"), (CHAT_PROMPT, "it")):
        pieces, end = await answer(service, code_request(prompt, choices=2))
        assert {(part.model, part.model_version) for part in (*pieces, end)} == {(model, "a checkpoint")}


FALLBACK = RoutingConfig(roles={Role.FIM: RouteConfig(models={"first": 1}, fallback="second")})


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.UNAVAILABLE])
async def test_another_model_answers_what_the_first_cannot_take(codegemma: Tokenizer, reason: Reason):
    first, second = ScriptedBackend(codegemma), ScriptedBackend(codegemma, "from the second")
    first.error = ServingError(reason, "Not now.")
    models = [served_model(first, "first", Role.FIM), served_model(second, "second", Role.FIM)]
    service = CodeService(models, GatewayConfig(), FALLBACK)
    pieces, end = await answer(service, code_request(FIM_PROMPT))
    assert text_in(pieces) == "from the second"
    assert {part.model for part in (*pieces, end)} == {"second"}
    assert (await refusal(service, code_request(FIM_PROMPT, model="first"))).reason is reason
    second.error = ServingError(reason, "Neither.")
    second.text = ""
    assert (await refusal(service, code_request(FIM_PROMPT))).message == "Neither."


async def test_a_request_that_is_late_is_tried_on_no_other_model(codegemma: Tokenizer) -> None:
    first, second = ScriptedBackend(codegemma), ScriptedBackend(codegemma)
    first.error = ServingError(Reason.OVERLOADED, "Not now.")
    models = [served_model(first, "first", Role.FIM), served_model(second, "second", Role.FIM)]
    service = CodeService(models, GatewayConfig(), FALLBACK)
    assert (await refusal(service, code_request(FIM_PROMPT, sent_at=0.0))).message == "Not now."
    assert not second.requests


async def test_an_answer_that_has_begun_or_is_wrong_is_not_begun_again(codegemma: Tokenizer):
    first, second = ScriptedBackend(codegemma, "begun"), ScriptedBackend(codegemma)
    first.error = ServingError(Reason.UNAVAILABLE, "Lost.")
    models = [served_model(first, "first", Role.FIM), served_model(second, "second", Role.FIM)]
    service = CodeService(models, GatewayConfig(), FALLBACK)
    assert (await refusal(service, code_request(FIM_PROMPT))).message == "Lost."
    assert (await refusal(service, code_request(FIM_PROMPT, max_tokens=-1))).reason is Reason.INVALID_ARGUMENT
    assert not second.requests


@pytest.mark.parametrize(
    ("prompt", "priority"),
    [
        (FIM_PROMPT, Priority.URGENT),
        (TextPrompt("<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"), Priority.URGENT),
        (TEXT_PROMPT, Priority.NORMAL),
        (CHAT_PROMPT, Priority.NORMAL),
    ],
)
async def test_who_fills_in_is_in_a_hurry(backend: ScriptedBackend, prompt: Prompt, priority: Priority):
    await answer(one_model_service(backend), code_request(prompt, session_id="cursor"))
    [request] = backend.requests
    assert (request.priority, request.session_id) == (priority, "0:/cursor")


async def test_a_superseded_generation_is_an_error_of_its_own(backend: ScriptedBackend):
    backend.end = GenerationChunk(finish_reason=FinishReason.SUPERSEDED)
    error = await refusal(one_model_service(backend), code_request(FIM_PROMPT, session_id="cursor"))
    assert error.reason is Reason.SUPERSEDED
    assert "session" in error.message


def test_models_say_what_they_do(codegemma: Tokenizer, gemma3: Tokenizer):
    fim, base, chat = ScriptedBackend(codegemma), ScriptedBackend(gemma3), ScriptedBackend(codegemma)
    assert [info.fim for info in two_models(fim, chat).models()] == ["native", None]
    info = CodeService([served_model(base, "gemma-3-270m", Role.FIM, Role.CHAT)], GatewayConfig()).model("gemma-3-270m")
    assert (info.fim, info.roles, info.context_length) == ("prefix", (Role.FIM, Role.CHAT), MAX_CONTEXT)


async def test_an_answer_is_text_then_a_finish_reason_then_the_usage(backend: ScriptedBackend):
    backend.end = structs.replace(backend.end, cached_tokens=2)
    pieces, end = await answer(one_model_service(backend), code_request(FIM_PROMPT))
    assert text_in(pieces) == "return 1\n"
    assert [piece.finish_reason for piece in pieces if piece.finish_reason] == [FinishReason.STOP]
    assert pieces[-1].finish_reason
    [request] = backend.requests
    tokens = len(backend.tokenizer.encode("return 1\n"))
    assert end.usage == Usage(len(request.prompt_ids), tokens, 2)


async def test_the_backend_gets_the_rendered_prompt_and_the_terminators(backend: ScriptedBackend):
    service = one_model_service(backend, request_timeout_s=20)
    sampling = SamplingParams(temperature=0.5, top_k=3, top_p=0.5, seed=7)
    await answer(service, code_request(TokenPrompt((2, 9)), max_tokens=3, sampling=sampling, timeout_s=5))
    [request] = backend.requests
    assert (request.prompt_ids, request.max_tokens, request.sampling) == ((2, 9), 3, sampling)
    assert request.stop_ids == backend.tokenizer.terminator_ids
    assert request.timeout_s == 5


async def test_a_request_cannot_take_longer_than_the_configured_limit(backend: ScriptedBackend):
    service = one_model_service(backend, request_timeout_s=20)
    await answer(service, code_request(timeout_s=1000))
    await answer(service, code_request())
    assert [request.timeout_s for request in backend.requests] == [20, 20]


async def test_choices_are_independent_and_their_seeds_count_up(backend: ScriptedBackend):
    request = code_request(choices=3, sampling=SamplingParams(temperature=1, seed=2**32 - 2))
    pieces, end = await answer(one_model_service(backend), request)
    texts = [text_in(piece for piece in pieces if piece.index == index) for index in range(3)]
    assert texts == ["return 1\n"] * 3
    assert sorted(request.sampling.seed for request in backend.requests) == [0, 2**32 - 2, 2**32 - 1]
    assert len({request.request_id for request in backend.requests}) == 3
    assert end.usage.completion_tokens == 3 * len(backend.tokenizer.encode("return 1\n"))


async def test_greedy_choices_are_computed_once(backend: ScriptedBackend) -> None:
    model = served_model(backend, "m", Role.FIM, Role.CHAT)
    service = CodeService([replace(model, backend=SingleFlight(backend))], GatewayConfig())
    request = code_request(choices=3, stop=("\n",), sampling=SamplingParams(temperature=0))
    pieces, end = await answer(service, request)
    assert [text_in(piece for piece in pieces if piece.index == index) for index in range(3)] == ["return 1"] * 3
    assert end.usage.completion_tokens == 3 * len(backend.tokenizer.encode("return 1\n"))
    assert len(backend.requests) == 1
    assert backend.running == 0


async def test_requests_of_one_id_are_apart_in_the_backend(backend: ScriptedBackend):
    service = one_model_service(backend)
    await asyncio.gather(*(answer(service, code_request()) for _ in range(3)))
    assert len({request.request_id for request in backend.requests}) == 3


@pytest.mark.parametrize("together", [1, 2, 100])
async def test_a_stop_text_ends_the_answer_and_closes_the_generation(backend: ScriptedBackend, together: int):
    backend.text, backend.together = "one two\nthree four", together
    backend.pause_at = len(backend.tokenizer.encode("one two\nthree"))  # and nothing after it, for ever
    pieces, _ = await answer(one_model_service(backend), code_request(stop=("thr", "\nth")))
    assert text_in(pieces) == "one two"
    assert pieces[-1].finish_reason is FinishReason.STOP
    assert backend.running == 0


async def test_an_answer_cut_by_its_length_says_so_and_shows_what_was_held_back(backend: ScriptedBackend):
    backend.text = "one two three"
    pieces, _ = await answer(one_model_service(backend), code_request(max_tokens=2, stop=(" two!",)))
    assert text_in(pieces) == "one two"
    assert pieces[-1].finish_reason is FinishReason.LENGTH


async def test_a_base_models_answer_ends_where_it_would_ask_the_next_question(backend: ScriptedBackend) -> None:
    backend.text = "Paris.\n\nQuestion:\nAnd of Spain?\n\nAnswer:\n"
    service = CodeService([served_model(backend, "base", Role.CHAT, chat_format="transcript")], GatewayConfig())
    pieces, _ = await answer(service, code_request(CHAT_PROMPT))
    assert (text_in(pieces), pieces[-1].finish_reason) == ("Paris.", FinishReason.STOP)
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids[1:]) == "Question:\nHi\n\nAnswer:\n"


async def test_without_fim_tokens_a_formatted_prompt_is_answered_up_to_its_suffix(gemma3: Tokenizer) -> None:
    backend = ScriptedBackend(gemma3, "total = 1\n    return total\n")
    prompt = TextPrompt("<|fim_prefix|>def f():\n    <|fim_suffix|>\n    return total\n<|fim_middle|>")
    assert await text_of(one_model_service(backend), code_request(prompt)) == "total = 1"
    assert gemma3.decode(backend.requests[0].prompt_ids[1:]) == "def f():\n    "
    assert backend.requests[0].priority is Priority.URGENT


async def test_without_fim_tokens_an_answer_ends_where_the_suffix_begins(gemma3: Tokenizer):
    backend = ScriptedBackend(gemma3, "total = 1\n    return total\n\ndef g():")
    prompt = FimPrompt(prefix="def f():\n    ", suffix="\n    return total\n")
    assert await text_of(one_model_service(backend), code_request(prompt)) == "total = 1"
    assert await text_of(one_model_service(backend), code_request(TextPrompt("def f():\n    "))) == backend.text


async def test_with_fim_tokens_the_model_decides_where_the_answer_ends(backend: ScriptedBackend):
    backend.text = "total = 1\n    return total\n"
    prompt = FimPrompt(prefix="def f():\n    ", suffix="\n    return total\n")
    assert await text_of(one_model_service(backend), code_request(prompt)) == backend.text


async def test_log_probabilities_come_with_their_tokens(backend: ScriptedBackend):
    request = code_request(sampling=SamplingParams(logprobs=2))
    pieces, _ = await answer(one_model_service(backend), request)
    logprobs = [logprob for piece in pieces for logprob in piece.logprobs]
    assert "".join(logprob.token for logprob in logprobs) == "return 1\n"
    assert {len(logprob.top) for logprob in logprobs} == {2}
    assert all(logprob.top[0] == replace(logprob, top=(), offset=0) for logprob in logprobs)


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
):
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

    __getitem__ = __iter__


async def test_token_ids_are_counted_before_anything_looks_at_them(backend: ScriptedBackend) -> None:
    error = await refusal(one_model_service(backend), code_request(TokenPrompt(UnreadIds())))
    assert error.reason is Reason.CONTEXT_LENGTH_EXCEEDED


async def test_the_limits_themselves_are_allowed(backend: ScriptedBackend):
    for sampling in (
        SamplingParams(temperature=2, top_p=1, top_k=256_000, seed=2**32 - 1, logprobs=20),
        SamplingParams(temperature=0, top_p=1e-6, top_k=0, seed=0, logprobs=0),
    ):
        request = code_request(
            sampling=sampling, choices=8, stop=("x" * 1024,) * 16, session_id="s" * 1024, max_tokens=1
        )
        assert len((await answer(one_model_service(backend), request))[0]) >= 8


async def test_a_fault_names_the_field_the_value_and_what_is_allowed(backend: ScriptedBackend):
    error = await refusal(one_model_service(backend), code_request(choices=9))
    assert (error.field, error.message) == ("choices", "choices is 9; allowed is 1 to 8.")
    error = await refusal(one_model_service(backend), code_request(TokenPrompt((2, -1))))
    assert error.field == "prompt[1]"
    assert error.message.startswith("prompt[1] is -1; ")


@pytest.mark.parametrize(
    "prompt", [TextPrompt(" a" * MAX_CONTEXT), TextPrompt("long " * 10**6), TokenPrompt((2,) * 512)]
)
async def test_a_prompt_as_long_as_the_context_is_refused_with_the_limit(backend: ScriptedBackend, prompt: Prompt):
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
async def test_a_structured_prompt_that_is_too_long_is_named(backend: ScriptedBackend, prompt: Prompt, field: str):
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


@pytest.mark.parametrize("together", [1, 100])
async def test_for_no_tokens_the_prompt_is_computed_and_nothing_generated(
    backend: ScriptedBackend, together: int
) -> None:
    backend.together = together
    service, request = one_model_service(backend), code_request(TEXT_PROMPT, max_tokens=0, choices=2)
    pieces, last = await answer(service, replace(request, sampling=SamplingParams(logprobs=0)))
    assert [(piece.index, piece.text, piece.logprobs, piece.finish_reason) for piece in pieces] == [
        (index, "", (), FinishReason.LENGTH) for index in (0, 1)
    ]
    assert last.usage
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (len(backend.requests[0].prompt_ids), 0)
    assert [each.max_tokens for each in backend.requests] == [1, 1]


async def test_stop_ids_join_the_terminators_but_for_those_that_no_vocabulary_has(backend: ScriptedBackend) -> None:
    await answer(one_model_service(backend), code_request(TEXT_PROMPT, stop_ids=frozenset({5, -1, 2**40})))
    assert backend.requests[0].stop_ids == backend.tokenizer.terminator_ids | {5}


async def test_tokens_are_counted_as_they_would_be_generated_from(backend: ScriptedBackend):
    service = one_model_service(backend)
    assert (await service.count_tokens(code_request(TokenPrompt((2, 5, 6)))))[0] == 3
    assert (await service.count_tokens(code_request(FimPrompt(prefix="a", suffix="b"))))[0] == 6


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (GenerationChunk(finish_reason=FinishReason.DEADLINE), Reason.DEADLINE_EXCEEDED),
        (GenerationChunk(finish_reason=FinishReason.ABORTED), Reason.UNAVAILABLE),
        (GenerationChunk(finish_reason=FinishReason.ERROR, error="Out of pages."), Reason.INTERNAL),
    ],
)
async def test_a_generation_that_is_not_complete_is_an_error(
    backend: ScriptedBackend, end: GenerationChunk, reason: Reason
):
    backend.end = end
    assert (await refusal(one_model_service(backend), code_request())).reason is reason


async def test_what_a_backend_refuses_reaches_the_client_as_it_is(backend: ScriptedBackend):
    backend.error = ServingError(Reason.OVERLOADED, "Too many requests.", retry_after_s=3)
    error = await refusal(one_model_service(backend), code_request(choices=2))
    assert (error.reason, error.message, error.retry_after_s) == (Reason.OVERLOADED, "Too many requests.", 3)
    assert backend.running == 0


async def test_an_unexpected_failure_tells_the_client_nothing_of_the_inside(
    backend: ScriptedBackend, caplog: pytest.LogCaptureFixture
):
    backend.error = RuntimeError("secret path")
    error = await refusal(one_model_service(backend), code_request())
    assert error.reason is Reason.INTERNAL
    assert "secret" not in error.message
    assert "request r failed" in caplog.text


async def test_a_backend_that_hangs_is_given_up_when_the_time_is_over(backend: ScriptedBackend):
    backend.pause_at = 1
    error = await refusal(one_model_service(backend), code_request(timeout_s=0.05))
    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert backend.running == 0


@pytest.mark.parametrize("choices", [1, 4])
@pytest.mark.parametrize("pause_at", [0, 1])
async def test_cancelling_the_consumer_frees_the_backend_wherever_it_waits(
    backend: ScriptedBackend, choices: int, pause_at: int
):
    backend.pause_at = pause_at
    consumer = asyncio.create_task(answer(one_model_service(backend), code_request(choices=choices)))
    await backend.paused.wait()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert backend.running == 0


async def test_closing_the_answer_frees_the_backend(backend: ScriptedBackend):
    backend.pause_at = 2
    chunks = one_model_service(backend).generate(code_request(choices=3))
    await anext(chunks)
    await chunks.aclose()
    assert backend.running == 0


async def test_a_backend_is_freed_at_the_deadline_though_nobody_reads(backend: ScriptedBackend) -> None:
    backend.pause_at = 1
    parts = one_model_service(backend).generate(code_request(timeout_s=0.05))
    with pytest.raises(ServingError) as error:
        await anext(parts)  # where the time is over before the first part is there, this says so
        await backend.idle.wait()
        await anext(parts)
    assert backend.running == 0
    assert error.value.reason is Reason.DEADLINE_EXCEEDED


async def test_a_backend_is_freed_by_a_stop_text_though_nobody_reads(backend: ScriptedBackend) -> None:
    backend.text, backend.pause_at = "one two three", 3
    parts = one_model_service(backend).generate(code_request(stop=(" three",)))
    await anext(parts)
    await backend.idle.wait()
    assert text_in([part async for part in parts if isinstance(part, Piece)]) == " two"


async def test_what_a_slow_reader_missed_comes_together(backend: ScriptedBackend) -> None:
    backend.text = "one two three four"
    parts = one_model_service(backend).generate(code_request())
    first = await anext(parts)
    await backend.idle.wait()
    *pieces, end = [first, *[part async for part in parts]]
    assert [part.text for part in pieces if isinstance(part, Piece)] == ["one", " two three four"]
    assert isinstance(end, End)
    assert end.usage.completion_tokens == len(backend.tokenizer.encode(backend.text))


async def test_several_prompts_have_one_answer(backend: ScriptedBackend) -> None:
    backend.echoes = True
    backend.end = structs.replace(backend.end, cached_tokens=1)
    requests = [code_request(TextPrompt(text), choices=2) for text in ("one", "two three", "four")]
    pieces, end = await answer(one_model_service(backend), *requests)
    texts = [text_in(piece for piece in pieces if piece.index == index) for index in range(6)]
    assert texts == ["one", "one", "two three", "two three", "four", "four"]
    assert end.usage == Usage(prompt_tokens=3 + 4, completion_tokens=2 * 4, cached_tokens=3)


async def test_each_of_several_prompts_is_rendered_once_before_any_is_generated_from(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[Prompt] = []
    render = PromptRenderer.render

    def counting(renderer: PromptRenderer, prompt: Prompt, *limit: int) -> list[int]:
        assert not backend.requests
        rendered.append(prompt)
        return render(renderer, prompt, *limit)

    monkeypatch.setattr(PromptRenderer, "render", counting)
    prompts = [TextPrompt("one"), TextPrompt("two")]
    await answer(one_model_service(backend), *map(code_request, prompts))
    assert rendered == prompts


async def test_a_fault_in_the_last_of_several_prompts_comes_before_any_is_generated_from(
    backend: ScriptedBackend,
) -> None:
    good, bad = code_request(), code_request(TokenPrompt((2, -1)))
    error = await refusal(one_model_service(backend), good, bad)
    assert error.field == "prompt[1][1]"
    assert not backend.requests


async def test_a_failure_of_one_of_several_prompts_ends_the_others(codegemma: Tokenizer) -> None:
    failing, endless = ScriptedBackend(codegemma), ScriptedBackend(codegemma, "one two")
    failing.error, endless.pause_at = ServingError(Reason.INTERNAL, "Broken."), 1
    service = two_models(failing, endless)
    assert (await refusal(service, code_request(CHAT_PROMPT), code_request(FIM_PROMPT))).message == "Broken."
    assert endless.running == 0


async def test_another_model_answers_those_of_several_prompts_that_the_first_cannot_take(codegemma: Tokenizer) -> None:
    first, second = ScriptedBackend(codegemma), ScriptedBackend(codegemma, "from the second")
    first.error = ServingError(Reason.OVERLOADED, "Not now.")
    models = [served_model(first, "first", Role.FIM, Role.CHAT), served_model(second, "second", Role.FIM)]
    routing = RoutingConfig(roles={Role.FIM: RouteConfig(models={"first": 1}, fallback="second")})
    service = CodeService(models, GatewayConfig(), routing)
    pieces, end = await answer(service, code_request(FIM_PROMPT), code_request(FIM_PROMPT, model="second"))
    assert [text_in(piece for piece in pieces if piece.index == index) for index in range(2)] == ["from the second"] * 2
    assert end.model == "second"


def test_a_chat_model_needs_turn_tokens(backend: ScriptedBackend):
    class BareTokenizer(Tokenizer):
        def _encode_text(self, text: str) -> list[int]:
            return [1 + byte for byte in text.encode()]

    backend.tokenizer = BareTokenizer([b"", *(bytes([byte]) for byte in range(256))], {"<bos>": 0})
    with pytest.raises(ValueError, match="'chat', but its tokenizer has no turn tokens"):
        one_model_service(backend)
