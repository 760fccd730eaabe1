"""One request of several prompts."""

from dataclasses import replace

import pytest
from msgspec import structs

from serving.errors import Reason, ServingError
from serving.gateway import validation
from serving.gateway.request import Prompt, TextPrompt, TokenPrompt, Usage
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import SamplingParams
from tests.gateway.asking import CHAT_PROMPT, FIM_PROMPT, answer, code_request, refusal, text_in, two_models
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service


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


async def test_the_log_probabilities_of_all_prompts_together_are_no_more_than_an_answer_may_have(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "MAX_ANSWER_LOGPROBS", 100)
    scored = code_request(
        TokenPrompt((2,) * 10), max_tokens=2, sampling=SamplingParams(logprobs=1), prompt_logprobs=True
    )
    service = one_model_service(backend)
    await answer(service, *[scored] * 4)  # 4 x (10 + 2) x 2
    backend.requests.clear()
    error = await refusal(service, *[scored] * 5)
    assert (error.reason, error.field) == (Reason.INVALID_ARGUMENT, "logprobs")
    assert "the prompts up to prompt[4]" in error.message and "Send fewer prompts" in error.message
    assert not backend.requests
    without = replace(scored, sampling=SamplingParams(), prompt_logprobs=False)
    await answer(service, *[scored] * 4, without)
