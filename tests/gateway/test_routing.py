"""Router: by name, by tenant, by the shape of the prompt, by share."""

from dataclasses import dataclass
from typing import Any

import pytest

from serving.config import ModelConfig, Role, RouteConfig, RoutingConfig
from serving.errors import Reason, ServingError
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
from serving.gateway.routing import Router

FIM = FimPrompt(prefix="a", suffix="b")
CHAT = ChatPrompt((Message(Speaker.USER, "Hi"),))
TEXT = TextPrompt("def f")


@dataclass(frozen=True)
class Model:
    config: ModelConfig
    adapters: tuple[str, ...] = ()

    @property
    def adapted(self) -> list["Model"]:
        return [self.with_adapter(name) for name in self.adapters]

    def with_adapter(self, name: str) -> "Model":
        if name not in self.adapters:
            raise KeyError(name)
        return Model(self.config.model_copy(update={"id": f"{self.config.id}:{name}"}))

    async def look_for(self, adapter: str) -> None: ...


def model(model_id: str, *roles: Role, aliases: tuple[str, ...] = ()) -> Model:
    return Model(ModelConfig(id=model_id, checkpoint="x", roles=roles, aliases=aliases))


MODELS = [model("2b", Role.FIM, aliases=("small",)), model("it", Role.CHAT)]


NO_ROUTING = RoutingConfig()


def route(
    prompt: Prompt = TEXT,
    models: list[Model] = MODELS,
    routing: RoutingConfig = NO_ROUTING,
    request_id: str = "r",
    **fields: Any,
) -> list[str]:
    request = CodeRequest(prompt=prompt, request_id=request_id, **fields)
    return [model.config.id for model in Router(models, routing).route(request)]


@pytest.mark.parametrize(("prompt", "chosen"), [(FIM, "2b"), (CHAT, "it"), (TEXT, "2b"), (TokenPrompt((2,)), "2b")])
def test_without_a_name_the_shape_of_the_prompt_chooses(prompt: Prompt, chosen: str) -> None:
    assert route(prompt) == route(prompt, model="") == [chosen]


def test_a_name_or_an_alias_chooses() -> None:
    assert route(TEXT, model="it") == ["it"]
    assert route(FIM, model="small") == ["2b"]


def test_a_name_with_an_adapter_chooses_the_model_with_it() -> None:
    models = [Model(MODELS[0].config, ("team-a", "team-b")), MODELS[1]]
    assert route(FIM, models, model="2b:team-a") == ["2b:team-a"]
    assert route(FIM, models, model="small:team-b") == ["2b:team-b"]
    assert route(FIM, models, model="small") == ["2b"]
    router = Router(models, NO_ROUTING)
    assert router.role(CodeRequest(request_id="r", prompt=TEXT, model="2b:team-a")) is Role.FIM


def test_an_alias_with_a_colon_chooses_and_may_have_an_adapter_behind_it() -> None:
    first = model("2b", Role.FIM, aliases=("codegemma:2b", "codegemma:2b:fast"))
    models = [Model(first.config, ("team-a",)), MODELS[1]]
    assert route(FIM, models, model="codegemma:2b") == ["2b"]
    assert route(FIM, models, model="codegemma:2b:fast") == ["2b"]
    assert route(FIM, models, model="codegemma:2b:team-a") == ["2b:team-a"]
    assert Router(models, NO_ROUTING).role(CodeRequest(request_id="r", prompt=TEXT, model="codegemma:2b")) is Role.FIM


@pytest.mark.parametrize("name", ["2b:", "2b:other", "it:team-a", ":team-a", "2b:team-a:team-b", "2b:team-a "])
def test_an_adapter_that_the_model_does_not_have_is_refused_with_those_that_there_are(name: str) -> None:
    models = [Model(MODELS[0].config, ("team-a",)), MODELS[1]]
    with pytest.raises(ServingError, match="Ask one of: 2b, 2b:team-a, it") as raised:
        route(FIM, models, model=name)
    assert raised.value.reason is Reason.MODEL_NOT_FOUND


def test_text_goes_to_the_chat_model_where_there_is_no_other() -> None:
    assert route(TEXT, MODELS[1:]) == ["it"]


@pytest.mark.parametrize(
    ("prompt", "name", "reason", "message"),
    [
        (FIM, "it", Reason.ROLE_NOT_SERVED, 'model is "it", which does not serve fill-in-the-middle.*Ask .2b.'),
        (CHAT, "small", Reason.ROLE_NOT_SERVED, 'model is "small", which does not serve chat. Ask .it.'),
        (TEXT, "gpt", Reason.MODEL_NOT_FOUND, 'model is "gpt", which is not served here. Ask one of: 2b, it'),
    ],
)
def test_a_model_that_cannot_answer_is_an_error_that_says_which_can(
    prompt: Prompt, name: str, reason: Reason, message: str
) -> None:
    with pytest.raises(ServingError, match=message) as error:
        route(prompt, model=name)
    assert (error.value.reason, error.value.field) == (reason, "model")


def test_a_role_that_no_model_has_is_refused() -> None:
    with pytest.raises(ServingError, match="model is not named, and none here serves fill-in-the-middle") as error:
        route(FIM, MODELS[1:])
    assert error.value.reason is Reason.ROLE_NOT_SERVED


CANARIES = [model("a", Role.FIM), model("b", Role.FIM), model("c", Role.FIM), model("d", Role.FIM)]
CANARY = RoutingConfig(
    roles={Role.FIM: RouteConfig(models={"a": 95, "b": 5}, fallback="c")}, tenants={"acme": {Role.FIM: "d"}}
)


def test_models_share_requests_by_weight() -> None:
    chosen = [route(FIM, CANARIES, CANARY, request_id=str(number))[0] for number in range(4000)]
    assert 130 < chosen.count("b") < 270  # 200 expected; more than 5 standard deviations of 14
    assert chosen.count("a") + chosen.count("b") == 4000


def test_a_session_stays_with_one_model_and_the_fallback_comes_second() -> None:
    for session in map(str, range(50)):
        chosen = {tuple(route(FIM, CANARIES, CANARY, session_id=session, request_id=str(n))) for n in range(20)}
        assert chosen in ({("a", "c")}, {("b", "c")})


def test_a_tenant_has_its_own_model() -> None:
    assert route(FIM, CANARIES, CANARY, tenant="acme") == ["d"]
    assert route(FIM, CANARIES, CANARY, tenant="acme", model="a") == ["a"]
    assert route(FIM, CANARIES, CANARY, tenant="other")[1] == "c"
