"""Another model answers what the first cannot take."""

import pytest

from serving.config import GatewayConfig, Role, RouteConfig, RoutingConfig
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.asking import FIM_PROMPT, answer, code_request, refusal, text_in
from tests.gateway.scripted_backend import ScriptedBackend, served_model

FALLBACK = RoutingConfig(roles={Role.FIM: RouteConfig(models={"first": 1}, fallback="second")})


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.UNAVAILABLE])
async def test_another_model_answers_what_the_first_cannot_take(codegemma: Tokenizer, reason: Reason) -> None:
    first, second = ScriptedBackend(codegemma), ScriptedBackend(codegemma, "from the second")
    first.error = ServingError(reason, "Not now.")
    models = [served_model(first, "first", Role.FIM), served_model(second, "second", Role.FIM)]
    service = CodeService(models, GatewayConfig(), FALLBACK, access=OpenAccess())
    pieces, end = await answer(service, code_request(FIM_PROMPT))
    assert text_in(pieces) == "from the second"
    assert {piece.model for piece in pieces} == {end.model} == {"second"}
    assert (await refusal(service, code_request(FIM_PROMPT, model="first"))).reason is reason
    second.error = ServingError(reason, "Neither.")
    second.text = ""
    assert (await refusal(service, code_request(FIM_PROMPT))).message == "Neither."


async def test_a_request_that_is_late_is_tried_on_no_other_model(codegemma: Tokenizer) -> None:
    first, second = ScriptedBackend(codegemma), ScriptedBackend(codegemma)
    first.error = ServingError(Reason.OVERLOADED, "Not now.")
    models = [served_model(first, "first", Role.FIM), served_model(second, "second", Role.FIM)]
    service = CodeService(models, GatewayConfig(), FALLBACK, access=OpenAccess())
    assert (await refusal(service, code_request(FIM_PROMPT, sent_at=0.0))).message == "Not now."
    assert not second.requests


async def test_an_answer_that_has_begun_or_is_wrong_is_not_begun_again(codegemma: Tokenizer) -> None:
    first, second = ScriptedBackend(codegemma, "begun"), ScriptedBackend(codegemma)
    first.error = ServingError(Reason.UNAVAILABLE, "Lost.")
    models = [served_model(first, "first", Role.FIM), served_model(second, "second", Role.FIM)]
    service = CodeService(models, GatewayConfig(), FALLBACK, access=OpenAccess())
    assert (await refusal(service, code_request(FIM_PROMPT))).message == "Lost."
    assert (await refusal(service, code_request(FIM_PROMPT, max_tokens=-1))).reason is Reason.INVALID_ARGUMENT
    assert not second.requests


async def test_another_model_answers_those_of_several_prompts_that_the_first_cannot_take(codegemma: Tokenizer) -> None:
    first, second = ScriptedBackend(codegemma), ScriptedBackend(codegemma, "from the second")
    first.error = ServingError(Reason.OVERLOADED, "Not now.")
    models = [served_model(first, "first", Role.FIM, Role.CHAT), served_model(second, "second", Role.FIM)]
    routing = RoutingConfig(roles={Role.FIM: RouteConfig(models={"first": 1}, fallback="second")})
    service = CodeService(models, GatewayConfig(), routing, access=OpenAccess())
    pieces, end = await answer(service, code_request(FIM_PROMPT), code_request(FIM_PROMPT, model="second"))
    assert [text_in(piece for piece in pieces if piece.index == index) for index in range(2)] == ["from the second"] * 2
    assert end.model == "second"
