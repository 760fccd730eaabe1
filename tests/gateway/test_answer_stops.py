"""Where an answer ends: at a stop text, at its length, at what a base model would write next, at the suffix."""

import pytest

from serving.config import GatewayConfig, Role
from serving.engine.request import FinishReason, Priority
from serving.gateway.access import OpenAccess
from serving.gateway.request import FimPrompt, TextPrompt
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.asking import CHAT_PROMPT, TEXT_PROMPT, answer, code_request, text_in, text_of
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service, served_model


@pytest.mark.parametrize("together", [1, 2, 100])
async def test_a_stop_text_ends_the_answer_and_closes_the_generation(backend: ScriptedBackend, together: int) -> None:
    backend.text, backend.together = "one two\nthree four", together
    backend.pause_at = len(backend.tokenizer.encode("one two\nthree"))  # and nothing after it, for ever
    pieces, _ = await answer(one_model_service(backend), code_request(stop=("thr", "\nth")))
    assert text_in(pieces) == "one two"
    assert pieces[-1].finish_reason is FinishReason.STOP
    assert backend.running == 0


async def test_an_answer_cut_by_its_length_says_so_and_shows_what_was_held_back(backend: ScriptedBackend) -> None:
    backend.text = "one two three"
    pieces, _ = await answer(one_model_service(backend), code_request(max_tokens=2, stop=(" two!",)))
    assert text_in(pieces) == "one two"
    assert pieces[-1].finish_reason is FinishReason.LENGTH


async def test_a_base_models_answer_ends_where_it_would_ask_the_next_question(backend: ScriptedBackend) -> None:
    backend.text = "Paris.\n\nQuestion:\nAnd of Spain?\n\nAnswer:\n"
    service = CodeService(
        [served_model(backend, "base", Role.CHAT, chat_format="transcript")], GatewayConfig(), access=OpenAccess()
    )
    pieces, _ = await answer(service, code_request(CHAT_PROMPT))
    assert (text_in(pieces), pieces[-1].finish_reason) == ("Paris.", FinishReason.STOP)
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids[1:]) == "Question:\nHi\n\nAnswer:\n"


async def test_without_fim_tokens_a_formatted_prompt_is_answered_up_to_its_suffix(gemma3: Tokenizer) -> None:
    backend = ScriptedBackend(gemma3, "total = 1\n    return total\n")
    prompt = TextPrompt("<|fim_prefix|>def f():\n    <|fim_suffix|>\n    return total\n<|fim_middle|>")
    assert await text_of(one_model_service(backend), code_request(prompt)) == "total = 1"
    assert gemma3.decode(backend.requests[0].prompt_ids[1:]) == "def f():\n    "
    assert backend.requests[0].priority is Priority.URGENT


async def test_without_fim_tokens_an_answer_ends_where_the_suffix_begins(gemma3: Tokenizer) -> None:
    backend = ScriptedBackend(gemma3, "total = 1\n    return total\n\ndef g():")
    prompt = FimPrompt(prefix="def f():\n    ", suffix="\n    return total\n")
    assert await text_of(one_model_service(backend), code_request(prompt)) == "total = 1"
    assert await text_of(one_model_service(backend), code_request(TextPrompt("def f():\n    "))) == backend.text


async def test_with_fim_tokens_the_model_decides_where_the_answer_ends(backend: ScriptedBackend) -> None:
    backend.text = "total = 1\n    return total\n"
    prompt = FimPrompt(prefix="def f():\n    ", suffix="\n    return total\n")
    assert await text_of(one_model_service(backend), code_request(prompt)) == backend.text


async def test_stop_ids_join_the_terminators_but_for_those_that_no_vocabulary_has(backend: ScriptedBackend) -> None:
    await answer(one_model_service(backend), code_request(TEXT_PROMPT, stop_ids=frozenset({5, -1, 2**40})))
    assert backend.requests[0].stop_ids == backend.tokenizer.terminator_ids | {5}
