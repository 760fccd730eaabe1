"""Router: which model answers a request, by its name or by the shape of its prompt."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from serving.config import ModelConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.request import ChatPrompt, FimPrompt, Prompt


class _Configured(Protocol):
    @property
    def config(self) -> ModelConfig: ...


class Router[M: _Configured]:
    """The models by id, by alias and by role."""

    def __init__(self, models: Sequence[M]) -> None:
        self._by_name: Mapping[str, M] = {
            name: model for model in models for name in (model.config.id, *model.config.aliases)
        }
        self._by_role: Mapping[Role, M] = {role: model for model in models for role in model.config.roles}
        self._ids = ", ".join(model.config.id for model in models)

    def named(self, name: str) -> M:
        """The model with this id or alias.

        Raises:
          ServingError: MODEL_NOT_FOUND.
        """
        if name not in self._by_name:
            raise ServingError(
                Reason.MODEL_NOT_FOUND, f"There is no model {name!r} here. There is: {self._ids}.", field="model"
            )
        return self._by_name[name]

    def route(self, name: str | None, prompt: Prompt) -> M:
        """The model named, or, without a name, the one with the role that the prompt's shape asks for.

        Text and tokens to continue go to the FIM model if there is one, as it is the base model.

        Raises:
          ServingError: MODEL_NOT_FOUND; ROLE_NOT_SERVED.
        """
        match prompt:
            case FimPrompt():
                roles: tuple[Role, ...] = (Role.FIM,)
            case ChatPrompt():
                roles = (Role.CHAT,)
            case _:
                roles = (Role.FIM, Role.CHAT)
        if name:
            model = self.named(name)
            if not any(role in model.config.roles for role in roles):
                raise self._not_served(f"The model {model.config.id!r} does not serve", roles[0])
            return model
        for role in roles:
            if role in self._by_role:
                return self._by_role[role]
        raise self._not_served("No model here serves", roles[0])

    def _not_served(self, fault: str, role: Role) -> ServingError:
        work = "fill-in-the-middle (a prompt with a suffix)" if role is Role.FIM else "chat"
        serving = self._by_role.get(role)
        remedy = f"Ask {serving.config.id!r}." if serving else f"The operator can give a model the role '{role}'."
        return ServingError(Reason.ROLE_NOT_SERVED, f"{fault} {work}. {remedy}", field="model")
