"""ServingConfig: everything an operator sets, as the `args` of a Ray Serve config file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.access.config import IssuerConfig, QuotasConfig
from serving.autoscaling.config import AutoscalingConfig
from serving.models.adapted_id import ADAPTER_NAME, split_id
from serving.models.topology import Topology


class Role(StrEnum):
    """What a model is asked to do; each model lists the roles that it serves."""

    FIM = "fim"
    CHAT = "chat"


ChatFormat = Literal["turns", "transcript"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitsConfig(_Strict):
    """Sizes of one replica group; they decide its memory and what is compiled at start-up."""

    max_rows: Annotated[int, Field(ge=1, le=1024)] = 8
    """Sequences generated at the same time."""
    max_step_tokens: Annotated[int, Field(ge=16, le=16384)] = 256
    """Tokens computed in one step: the budget that prompts in prefill share with running generations."""
    max_context: Annotated[int, Field(ge=64)] = 8192
    """Tokens of one sequence, prompt and generation together."""
    page_size: Annotated[int, Field(ge=8, le=256)] = 32
    """Tokens in one page of the KV cache."""
    kv_tokens: Annotated[int, Field(ge=64)] | None = None
    """Tokens that the KV cache holds, over all sequences; by default all that fit beside the weights."""
    max_queue: Annotated[int, Field(ge=0)] = 64
    """Requests that wait for a row before further ones are refused with a retry hint."""

    @model_validator(mode="after")
    def _consistent(self) -> "LimitsConfig":
        if self.kv_tokens is not None and self.kv_tokens < self.max_context:
            raise ValueError(
                f"kv_tokens={self.kv_tokens} is less than max_context={self.max_context}: one sequence of full length "
                "would not fit. Raise kv_tokens or lower max_context."
            )
        return self


class AdaptersConfig(_Strict):
    """LoRA adapters that a model is served with: docs/adapters.md."""

    directory: Path
    """Has a directory or a `.nemo` file for each adapter, on the machines of Gateways and groups alike; read anew every
    two seconds."""
    max_loaded: Annotated[int, Field(ge=1, le=64)] = 8
    """Adapters that a group has in memory, and that a step computes with; further ones take turns."""
    max_rank: Annotated[int, Field(ge=1, le=256)] = 16
    """The highest rank of an adapter. Each of `max_loaded` takes memory and time as if it had it."""


class ModelConfig(_Strict):
    """One model: a Ray Serve deployment of replica groups."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    """The name clients use."""
    checkpoint: str
    """A file or directory of any form in docs/checkpoints, or `package:NAME` for a checkpoint in a Python package."""
    tokenizer: Path | None = None
    """A SentencePiece `.model` or a `tokenizer.json`; by default the one that comes with the checkpoint."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    """Which requests it answers that name no model."""
    aliases: tuple[str, ...] = ()
    """Further names that clients may use; they may have colons."""
    version: str = Field(default_factory=lambda data: _checkpoint_name(data["checkpoint"]))
    """Sent to clients with every answer; by default the name of the checkpoint."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of activations and KV cache, and of weights that are not quantised."""
    quantize: Literal["int8", "int8-weights", "int8-groups", "int4", "none"] | None = None
    """How weights are held, and for `int8` activations multiplied; by default as in the checkpoint; `none`: decoded.
    See docs/quantisation.md."""
    adapters: AdaptersConfig | None = None
    """Adapters that clients choose by `ID:ADAPTER` in the place of the id."""
    topology: Topology = Topology()
    """The accelerators of one replica group."""
    replicas: Annotated[int, Field(ge=1)] = 1
    """Replica groups, always that many; with `autoscaling` they follow the queued work instead."""
    autoscaling: AutoscalingConfig | None = None
    fim_format: Literal["psm", "spm"] = "psm"
    """The order of a fill-in-the-middle prompt: prefix-suffix-middle or suffix-prefix-middle."""
    chat_format: ChatFormat = "turns"
    """How a conversation is written for it: with Gemma's turn tokens, or as a plain-text transcript, for a base model,
    which was not trained on turn tokens."""
    default_max_tokens: Annotated[int, Field(ge=1)] = 256
    """The limit of an answer when the request has none; for a conversation it is the room in the context."""
    limits: LimitsConfig = LimitsConfig()
    executables: Path | None = None
    """A file that `codegemma compile` wrote for this model, on every host: groups then start without compiling. A host
    needs the key that it was signed with, too: docs/executables.md."""
    step_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """A step that takes longer, or a host that is silent for longer, is taken to hang: the group is replaced."""
    drain_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """How long a stopping group may finish its requests; then they end with a retryable error."""
    max_surge_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Groups started beside the old ones in a redeployment, before those stop; needs accelerators for both. With 0,
    groups are replaced in place, and requests for a model with a single group wait until that has restarted. On
    Kubernetes, where no model answers, Gateways become not ready and connections are refused until then."""
    ray_actor_options: dict[str, object] = {}
    """Passed to Ray for the group's leader, besides what the topology asks for: CPUs, custom resources."""

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> "ModelConfig":
        if self.autoscaling is None:
            return self
        if self.replicas != 1:
            raise ValueError(
                f"replicas={self.replicas} is set and so is autoscaling, which decides that number. "
                "Remove replicas, or set autoscaling.min_replicas."
            )
        target = self.autoscaling.target_queued_per_replica
        if target >= self.limits.max_queue:
            raise ValueError(
                f"autoscaling.target_queued_per_replica={target:g} is not below limits.max_queue="
                f"{self.limits.max_queue}: requests would be refused before a group is added. "
                "Lower the target or raise max_queue."
            )
        return self


def _checkpoint_name(checkpoint: str) -> str:
    return checkpoint.rstrip("/").rpartition("/")[2].removeprefix("package:")


class GatewayConfig(_Strict):
    """The ingress deployment."""

    replicas: Annotated[int, Field(ge=1)] = 1
    max_body_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    """A larger request body is refused."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Every request ends within this time; clients may ask for less."""
    keys_file: Path | None = None
    """The file of the API keys that requests need, on each Gateway's machine; made by `codegemma keys`."""
    issuers: tuple[IssuerConfig, ...] = ()
    """Issuers of tokens that requests may have instead of an API key."""
    quotas: QuotasConfig | None = None
    """Limits of tenants and keys; by default none."""
    tenants_share_cache: bool | None = None
    """Share caches between tenants: faster where tenants work on the same files, but the time of an answer then reveals
    what others have asked. By default only without `keys_file` and `issuers`, where requests name their own tenant."""
    anyone: bool = False
    """Answer requests from other machines without a key: for a service behind one that authenticates its callers."""
    allowed_origins: tuple[Annotated[str, Field(pattern=r"^([a-z][a-z0-9+.-]*://[^/*]+|\*)$")], ...] = ()
    """Origins of web pages that may call the service, as `https://code.example.com`; `*` for all."""
    allowed_hosts: tuple[str, ...] = ()
    """Names, besides those of loopback, by which pages may reach a service that listens on 127.0.0.1 without keys."""
    audit_log: Path | Literal["log"] | None = None
    """A file on each Gateway's machine, or `log` for Ray Serve's log, that gets a line for each request: caller,
    time and tokens, without prompt and answer."""

    @model_validator(mode="after")
    def _keys_or_anyone(self) -> "GatewayConfig":
        if self.anyone and self.keys_file is not None:
            raise ValueError(f"anyone=true, but keys_file={str(self.keys_file)!r} asks for keys. Remove one of them.")
        if self.anyone and self.issuers:
            raise ValueError(
                f"anyone=true, but issuers asks for tokens of {self.issuers[0].issuer}. Remove one of them."
            )
        return self

    @model_validator(mode="after")
    def _different_issuers(self) -> "GatewayConfig":
        names = [issuer.issuer for issuer in self.issuers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"issuers: {twice[0]!r} is there twice. Join the two; audience may have several.")
        return self

    @model_validator(mode="after")
    def _counted_together(self) -> "GatewayConfig":
        if self.quotas is not None and self.quotas.redis is None and self.replicas > 1:
            raise ValueError(
                f"quotas.redis is not set, and replicas={self.replicas}: each Gateway would count alone and allow all "
                "of a limit. Name a Redis there, or leave it at one Gateway."
            )
        return self

    @property
    def asks_for_keys(self) -> bool:
        """Whether requests must come with a key or a token."""
        return self.keys_file is not None or bool(self.issuers)

    @property
    def shares_cache(self) -> bool:
        """`tenants_share_cache`, or its default."""
        return not self.asks_for_keys if self.tenants_share_cache is None else self.tenants_share_cache


class RouteConfig(_Strict):
    """Which models share the requests of one role."""

    models: Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]
    """Share by model id, in any unit: `{codegemma-2b: 95, codegemma-2b-canary: 5}`. A session stays with one model."""
    fallback: str | None = None
    """The model that answers when the chosen one is overloaded or out of service."""


class RoutingConfig(_Strict):
    """Which model answers a request that names none."""

    roles: dict[Role, RouteConfig] = {}
    """By role; a role that one model has needs no entry."""
    tenants: dict[str, dict[Role, str]] = {}
    """By tenant: the models that answer its requests instead."""


class ServingConfig(_Strict):
    """The whole service."""

    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)]
    routing: RoutingConfig = RoutingConfig()
    gateway: GatewayConfig = GatewayConfig()

    @model_validator(mode="after")
    def _unique(self) -> "ServingConfig":
        names = [name for model in self.models for name in (model.id, *model.aliases)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"models: {', '.join(twice)} names more than one model. Give each model its own id.")
        return self

    @model_validator(mode="after")
    def _adapters_are_nameable(self) -> "ServingConfig":
        adapted = {name: model.id for model in self.models if model.adapters for name in (model.id, *model.aliases)}
        for alias in (alias for model in self.models for alias in model.aliases):
            name, adapter = split_id(alias)
            if name in adapted and ADAPTER_NAME.fullmatch(adapter):
                raise ValueError(
                    f"models: the alias {alias!r} means adapter {adapter!r} of {adapted[name]!r}. Choose another alias."
                )
        return self

    @model_validator(mode="after")
    def _routable(self) -> "ServingConfig":
        for role in Role:
            serving = [model.id for model in self.models if role in model.roles]
            if len(serving) > 1 and role not in self.routing.roles:
                raise ValueError(
                    f"models: {', '.join(serving)} all have the role '{role}'. Say in routing.roles.{role}.models how "
                    "they share it, or leave it with one of them."
                )
        for role, route in self.routing.roles.items():
            for model in route.models:
                self._check_route(f"routing.roles.{role}.models", model, role)
            if route.fallback is not None:
                self._check_route(f"routing.roles.{role}.fallback", route.fallback, role)
        for tenant, models in self.routing.tenants.items():
            for role, model in models.items():
                self._check_route(f"routing.tenants.{tenant}.{role}", model, role)
        return self

    def _check_route(self, field: str, model_id: str, role: Role) -> None:
        serving = [model.id for model in self.models if role in model.roles]
        if model_id not in serving:
            raise ValueError(
                f"{field}: {model_id!r} is no model with the role '{role}'. "
                f"Those are: {', '.join(serving) or 'none'}; give it the role under models, or name another."
            )
