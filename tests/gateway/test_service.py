"""CodeService over a scripted backend: what the backend is asked, and the pieces, choices and usage of an answer."""

import asyncio
from dataclasses import replace

import pytest
from msgspec import structs

from serving.config import GatewayConfig, Role
from serving.engine.request import FinishReason, GenerationRequest, Priority
from serving.errors import Reason
from serving.gateway.access import OpenAccess
from serving.gateway.backend import Handle, Sink
from serving.gateway.request import AnswerPart, End, FimPrompt, Piece, Prompt, TextPrompt, TokenPrompt, Usage
from serving.gateway.service import CodeService
from serving.gateway.single_flight import SingleFlight
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import SamplingParams
from tests.gateway.asking import (
    CHAT_PROMPT,
    FIM_PROMPT,
    TEXT_PROMPT,
    answer,
    code_request,
    refusal,
    text_in,
    two_models,
)
from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend, one_model_service, served_model


async def test_every_piece_says_which_model_in_which_version_answers(backend: ScriptedBackend) -> None:
    backend.text = "x"
    service = two_models(backend, backend)
    for prompt, model in ((FIM_PROMPT, "codegemma-2b"), (CHAT_PROMPT, "it")):
        pieces, end = await answer(service, code_request(prompt, choices=2))
        parts: list[AnswerPart] = [*pieces, end]
        assert {(part.model, part.model_version) for part in parts} == {(model, "a checkpoint")}


@pytest.mark.parametrize(
    ("prompt", "priority"),
    [
        (FIM_PROMPT, Priority.URGENT),
        (TextPrompt("<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"), Priority.URGENT),
        (TEXT_PROMPT, Priority.NORMAL),
        (CHAT_PROMPT, Priority.NORMAL),
    ],
)
async def test_who_fills_in_is_in_a_hurry(backend: ScriptedBackend, prompt: Prompt, priority: Priority) -> None:
    await answer(one_model_service(backend), code_request(prompt, session_id="cursor"))
    [request] = backend.requests
    assert (request.priority, request.session_id) == (priority, "0:/cursor")


async def test_models_say_what_they_do(codegemma: Tokenizer, gemma3: Tokenizer) -> None:
    fim, base, chat = ScriptedBackend(codegemma), ScriptedBackend(gemma3), ScriptedBackend(codegemma)
    assert [info.fim for info in two_models(fim, chat).models(None)] == ["native", None]
    service = CodeService(
        [served_model(base, "gemma-3-270m", Role.FIM, Role.CHAT)], GatewayConfig(), access=OpenAccess()
    )
    info = await service.model("gemma-3-270m", None)
    assert (info.fim, info.roles, info.context_length) == ("prefix", (Role.FIM, Role.CHAT), MAX_CONTEXT)


async def test_an_answer_is_text_then_a_finish_reason_then_the_usage(backend: ScriptedBackend) -> None:
    backend.end = structs.replace(backend.end, cached_tokens=2)
    pieces, end = await answer(one_model_service(backend), code_request(FIM_PROMPT))
    assert text_in(pieces) == "return 1\n"
    assert [piece.finish_reason for piece in pieces if piece.finish_reason] == [FinishReason.STOP]
    assert pieces[-1].finish_reason
    [request] = backend.requests
    tokens = len(backend.tokenizer.encode("return 1\n"))
    assert end.usage == Usage(len(request.prompt_ids), tokens, 2)


async def test_the_backend_gets_the_rendered_prompt_and_the_terminators(backend: ScriptedBackend) -> None:
    service = one_model_service(backend, request_timeout_s=20)
    sampling = SamplingParams(temperature=0.5, top_k=3, top_p=0.5, seed=7)
    await answer(service, code_request(TokenPrompt((2, 9)), max_tokens=3, sampling=sampling, timeout_s=5))
    [request] = backend.requests
    assert (request.prompt_ids, request.max_tokens, request.sampling) == ((2, 9), 3, sampling)
    assert request.stop_ids == backend.tokenizer.terminator_ids
    assert request.timeout_s == 5


async def test_a_request_cannot_take_longer_than_the_configured_limit(backend: ScriptedBackend) -> None:
    service = one_model_service(backend, request_timeout_s=20)
    await answer(service, code_request(timeout_s=1000))
    await answer(service, code_request())
    assert [request.timeout_s for request in backend.requests] == [20, 20]


async def test_choices_are_independent_and_their_seeds_count_up(backend: ScriptedBackend) -> None:
    request = code_request(choices=3, sampling=SamplingParams(temperature=1, seed=2**32 - 2))
    pieces, end = await answer(one_model_service(backend), request)
    texts = [text_in(piece for piece in pieces if piece.index == index) for index in range(3)]
    assert texts == ["return 1\n"] * 3
    assert sorted(request.sampling.seed for request in backend.requests) == [0, 2**32 - 2, 2**32 - 1]
    assert len({request.request_id for request in backend.requests}) == 3
    assert end.usage.completion_tokens == 3 * len(backend.tokenizer.encode("return 1\n"))


async def test_a_prompt_is_scored_once_for_all_choices(backend: ScriptedBackend) -> None:
    sampling = SamplingParams(temperature=1, seed=1, logprobs=1)
    request = code_request(
        TextPrompt("a b c"), choices=3, sampling=sampling, max_tokens=1, prompt_logprobs=True, echo=True
    )
    pieces, end = await answer(one_model_service(backend), request)
    assert [request.scores_prompt for request in backend.requests] == [True, False, False]
    assert [request.sampling.seed for request in backend.requests] == [1, 2, 3]
    whole = [[piece for piece in pieces if piece.index == index] for index in range(3)]
    assert [text_in(each) for each in whole] == ["a b creturn"] * 3
    scored = [[token for piece in each for token in piece.prompt_logprobs] for each in whole]
    assert [[token.token for token in each] for each in scored] == [["a", " b", " c"]] * 3
    assert scored[1] == scored[2] == scored[0]
    assert end.usage.completion_tokens == 3


async def test_the_end_of_each_choice_has_a_log_probability_where_the_prompt_has(backend: ScriptedBackend) -> None:
    backend.text = ""
    scored = code_request(choices=2, sampling=SamplingParams(temperature=1, seed=1, logprobs=0), prompt_logprobs=True)
    for request, ends in ((scored, ["<eos>"]), (replace(scored, prompt_logprobs=False), [])):
        pieces, _ = await answer(one_model_service(backend), request)
        for index in range(2):
            own = [token.token for piece in pieces if piece.index == index for token in piece.logprobs]
            assert own == ends


async def test_a_choice_that_is_refused_once_the_prompt_is_scored_ends_the_others(backend: ScriptedBackend) -> None:
    class Full(ScriptedBackend):
        def submit(self, request: GenerationRequest, sink: Sink) -> Handle:
            self.error = None if request.scores_prompt else RuntimeError("broken")
            return super().submit(request, sink)

    full = Full(backend.tokenizer, "return 1")
    request = code_request(choices=3, sampling=SamplingParams(temperature=1, logprobs=0), prompt_logprobs=True)
    assert (await refusal(one_model_service(full), request)).reason is Reason.INTERNAL
    assert full.running == 0


async def test_greedy_choices_are_computed_once(backend: ScriptedBackend) -> None:
    model = served_model(backend, "m", Role.FIM, Role.CHAT)
    service = CodeService([replace(model, backend=SingleFlight(backend))], GatewayConfig(), access=OpenAccess())
    request = code_request(choices=3, stop=("\n",), sampling=SamplingParams(temperature=0))
    pieces, end = await answer(service, request)
    assert [text_in(piece for piece in pieces if piece.index == index) for index in range(3)] == ["return 1"] * 3
    assert end.usage.completion_tokens == 3 * len(backend.tokenizer.encode("return 1\n"))
    assert len(backend.requests) == 1
    assert backend.running == 0


async def test_requests_of_one_id_are_apart_in_the_backend(backend: ScriptedBackend) -> None:
    service = one_model_service(backend)
    await asyncio.gather(*(answer(service, code_request()) for _ in range(3)))
    assert len({request.request_id for request in backend.requests}) == 3


async def test_log_probabilities_come_with_their_tokens(backend: ScriptedBackend) -> None:
    request = code_request(sampling=SamplingParams(logprobs=2))
    pieces, _ = await answer(one_model_service(backend), request)
    logprobs = [logprob for piece in pieces for logprob in piece.logprobs]
    assert "".join(logprob.token for logprob in logprobs) == "return 1\n"
    assert {len(logprob.top) for logprob in logprobs} == {2}
    assert all(logprob.top[0] == replace(logprob, top=(), offset=0) for logprob in logprobs)


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


async def test_tokens_are_counted_as_they_would_be_generated_from(backend: ScriptedBackend) -> None:
    service = one_model_service(backend)
    assert (await service.count_tokens(code_request(TokenPrompt((2, 5, 6)))))[0] == 3
    assert (await service.count_tokens(code_request(FimPrompt(prefix="a", suffix="b"))))[0] == 6


async def test_what_a_slow_reader_missed_comes_together(backend: ScriptedBackend) -> None:
    backend.text = "one two three four"
    parts = one_model_service(backend).generate(code_request())
    first = await anext(parts)
    await backend.idle.wait()
    *pieces, end = [first, *[part async for part in parts]]
    assert [part.text for part in pieces if isinstance(part, Piece)] == ["one", " two three four"]
    assert isinstance(end, End)
    assert end.usage.completion_tokens == len(backend.tokenizer.encode(backend.text))


def test_a_chat_model_needs_turn_tokens(backend: ScriptedBackend) -> None:
    class BareTokenizer(Tokenizer):
        def _encode_text(self, text: str) -> list[int]:
            return [1 + byte for byte in text.encode()]

    backend.tokenizer = BareTokenizer([b"", *(bytes([byte]) for byte in range(256))], {"<bos>": 0})
    with pytest.raises(ValueError, match="'chat', but its tokenizer has no turn tokens"):
        one_model_service(backend)
