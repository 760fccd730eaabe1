"""Router: which models may answer a request, by its name, its tenant, or the shape of its prompt."""

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol, Self

from serving.config import ModelConfig, Role, RouteConfig, RoutingConfig
from serving.errors import FieldError, Reason, ServingError
from serving.gateway.request import ChatPrompt, CodeRequest, FimPrompt, Prompt
from serving.gateway.shown import shown
from serving.models.adapted_id import AllowedAdapters, adapted_id, split_id

_MOST_NAMED = 20
"""Models that an error names."""
_WORK = {Role.FIM: "fill-in-the-middle (a prompt with a suffix)", Role.CHAT: "chat"}


class _Configured(Protocol):
    @property
    def config(self) -> ModelConfig: ...

    @property
    def adapted(self) -> Sequence[Self]: ...

    def with_adapter(self, name: str) -> Self: ...

    async def look_for(self, adapter: str) -> None: ...


class Router[M: _Configured]:
    """The models by id, by alias, by tenant and by role; with an adapter, by either name and that of the adapter."""

    def __init__(self, models: Sequence[M], routing: RoutingConfig) -> None:
        self._by_name: Mapping[str, M] = {
            name: model for model in models for name in (model.config.id, *model.config.aliases)
        }
        self._tenants = routing.tenants
        self._routes = {
            role: RouteConfig(models={model.config.id: 1.0}) for model in models for role in model.config.roles
        } | routing.roles
        self._models = models

    def listed(self, adapters: AllowedAdapters) -> list[M]:
        """The models, each followed by those with its adapters, of which `adapters` may be used."""
        listed: list[M] = []
        for model in self._models:
            listed += [model, *(each for each in model.adapted if _may_use(adapters, each.config.id))]
        return listed

    async def look(self, name: str, adapters: AllowedAdapters) -> None:
        """Has `named` and `route` know the adapter that a name has, if it has just come.

        Unseen where `adapters` may not be used: whether there is such an adapter is not told by the time that it takes.

        Raises:
          ServingError: UNAVAILABLE: nobody can tell whether there is one.
        """
        if adapted := self._split(name, adapters):
            model, adapter = adapted
            await model.look_for(adapter)

    def named(self, name: str, adapters: AllowedAdapters) -> M:
        """The model with this id or alias, with the adapter whose name may follow the last colon.

        Raises:
          ServingError: MODEL_NOT_FOUND; also for an adapter that is none of `adapters`, whose name is not to be told.
        """
        if model := self._find(name, adapters):
            return model
        all_models = [each.config.id for each in self.listed(adapters)]
        more = f" and {len(all_models) - _MOST_NAMED} more" if len(all_models) > _MOST_NAMED else ""
        raise FieldError(
            Reason.MODEL_NOT_FOUND,
            "model",
            f"is {shown(name)}, which is not served here. Ask one of: {', '.join(all_models[:_MOST_NAMED])}{more}.",
        )

    def route(self, request: CodeRequest) -> tuple[M, ...]:
        """The model that answers a request, and after it the one to ask when that cannot take it.

        A model that is named answers alone. Text and tokens to continue go to the FIM model if there is one, as it is
        the base model.

        Raises:
          ServingError: MODEL_NOT_FOUND; ROLE_NOT_SERVED; PERMISSION_DENIED.
        """
        asked = _roles(request.prompt)
        roles = [role for role in asked if role in request.roles]
        if not roles:
            raise ServingError(
                Reason.PERMISSION_DENIED,
                f"This API key may not be used for {_WORK[asked[0]]}. The operator can make one that may.",
            )
        if request.model:
            model = self.named(request.model, request.adapters)
            if not any(role in model.config.roles for role in roles):
                raise self._not_served(f"is {shown(request.model)}, which does not serve", roles[0])
            return (model,)
        overrides = self._tenants.get(request.tenant, {})
        for role in roles:
            if role in overrides:
                return (self._by_name[overrides[role]],)
            if role in self._routes:
                return self._shared(self._routes[role], request)
        raise self._not_served("is not named, and none here serves", roles[0])

    def role(self, request: CodeRequest) -> Role:
        """What a request is for: of what its prompt can be, what its caller may ask for and a model does."""
        asked = _roles(request.prompt)
        named = self._find(request.model or "", request.adapters)
        served = self._routes if named is None else named.config.roles
        return next((role for role in asked if role in request.roles and role in served), asked[0])

    def _find(self, name: str, adapters: AllowedAdapters) -> M | None:
        if model := self._by_name.get(name):
            return model
        if adapted := self._split(name, adapters):
            model, adapter = adapted
            with suppress(KeyError):
                return model.with_adapter(adapter)
        return None

    def _split(self, name: str, adapters: AllowedAdapters) -> tuple[M, str] | None:
        """The model and the adapter that a name means, if it means one that may be used; known or not."""
        model_name, adapter = split_id(name)
        model = None if name in self._by_name else self._by_name.get(model_name)
        if model is None or not _may_use(adapters, adapted_id(model.config.id, adapter)):
            return None
        return model, adapter

    def _shared(self, route: RouteConfig, request: CodeRequest) -> tuple[M, ...]:
        chosen = next(iter(route.models)) if len(route.models) == 1 else _drawn(route, request)
        ids = [chosen] if route.fallback in (None, chosen) else [chosen, route.fallback]
        return tuple(self._by_name[model_id] for model_id in ids if model_id)

    def _not_served(self, fault: str, role: Role) -> ServingError:
        route = self._routes.get(role)
        remedy = f"Ask {next(iter(route.models))!r}." if route else f"The operator can give a model the role '{role}'."
        return FieldError(Reason.ROLE_NOT_SERVED, "model", f"{fault} {_WORK[role]}. {remedy}")


def _may_use(adapters: AllowedAdapters, adapted: str) -> bool:
    return adapters is None or adapted in adapters


def _drawn(route: RouteConfig, request: CodeRequest) -> str:
    # From what stays the same while a developer types in a file: models share sessions, not single requests.
    drawn = random.Random(request.session or request.request_id)
    [chosen] = drawn.choices(list(route.models), weights=list(route.models.values()))
    return chosen


def _roles(prompt: Prompt) -> tuple[Role, ...]:
    match prompt:
        case FimPrompt():
            return (Role.FIM,)
        case ChatPrompt():
            return (Role.CHAT,)
        case _:
            return (Role.FIM, Role.CHAT)
