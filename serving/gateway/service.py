"""CodeService: from a request in text to an answer in text, whatever protocol carries them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from serving.config import ChatFormat, GatewayConfig, Role, RoutingConfig
from serving.gateway.access import Access
from serving.gateway.open_request import OpenRequest
from serving.gateway.quotas import Quotas, quotas_for
from serving.gateway.records import RequestRecords
from serving.gateway.request import AnswerPart, CodeRequest, End, Truncation, Usage
from serving.gateway.routing import Router
from serving.gateway.served_model import ServedModel
from serving.gateway.status import ModelStatus
from serving.gateway.text.fim import FimMode
from serving.gateway.validation import check_sizes
from serving.models.adapted_id import AllowedAdapters
from serving.telemetry.recorder import NoRecorder


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What clients see of a model.

    Attributes:
      fim: "native" if it has FIM tokens, "prefix" if it continues the prefix and stops where the suffix
        begins, None if it does not serve FIM.
      chat: how a conversation is given to it, None if it does not serve chat.
      context_length: tokens of prompt and generation together.
    """

    id: str
    aliases: tuple[str, ...]
    roles: tuple[Role, ...]
    fim: FimMode | None
    chat: ChatFormat | None
    context_length: int
    version: str


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a service.

    Attributes:
      ready: whether requests should come.
      unavailable: ids of the models that no group answers for now.
    """

    ready: bool
    unavailable: tuple[str, ...]


_NO_ROUTING = RoutingConfig()


class CodeService:
    """Answers code requests from a set of models."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        gateway: GatewayConfig,
        routing: RoutingConfig = _NO_ROUTING,
        *,
        access: Access,
        records: RequestRecords | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        """Raises ValueError if a model cannot do what its roles say.

        Args:
          models: those that answer.
          gateway: limits.
          routing: which model answers what.
          access: tells who calls; asked by each protocol, before it looks at a request.
          records: keeps how requests end; each protocol reads requests under its eyes. None: nothing does.
          quotas: how much each caller may ask for. None: what `gateway` says, unrecorded.
        """
        self.access = access
        self.records = records or RequestRecords(NoRecorder(), [model.config for model in models])
        self._quotas = quotas or quotas_for(gateway)
        self._models = tuple(models)
        self._router = Router(models, routing)
        self._timeout_s = gateway.request_timeout_s
        self._shares_cache = gateway.shares_cache
        self._was_complete = False
        for model in models:
            if Role.CHAT in model.config.roles and not model.renderer.serves_chat:
                raise ValueError(
                    f"models: {model.config.id} has the role 'chat', but its tokenizer has no turn tokens. "
                    "Take the role away, point `tokenizer` at the tokenizer of an instruction-tuned Gemma, or set "
                    "`chat_format: transcript`."
                )

    async def close(self) -> None:
        """Waits, not for long, until what its requests took is counted; no other comes."""
        await self._quotas.close()

    def models(self, adapters: AllowedAdapters) -> tuple[ModelInfo, ...]:
        """The models, in the order of the configuration, each followed by those with its adapters.

        Args:
          adapters: those that the caller may use; the others are left out.
        """
        return tuple(map(_info, self._router.listed(adapters)))

    async def model(self, name: str, adapters: AllowedAdapters) -> ModelInfo:
        """One model by id or alias.

        Raises:
          ServingError: as `Router.look`; MODEL_NOT_FOUND; as if there were no others, for one with an adapter that is
            none of `adapters`.
        """
        await self._router.look(name, adapters)
        return _info(self._router.named(name, adapters))

    async def health(self) -> Health:
        """Whether requests should come here, and which models no group answers for now.

        Not before every model has answered once, so that no request reaches a service that is starting. After that one
        model is enough: chat that is down must not take completions out of service.
        """
        answers = await asyncio.gather(*(model.backend.ready() for model in self._models))
        unavailable = tuple(
            model.config.id for model, answering in zip(self._models, answers, strict=True) if not answering
        )
        self._was_complete = self._was_complete or not unavailable
        return Health(ready=self._was_complete and any(answers), unavailable=unavailable)

    def status(self) -> tuple[ModelStatus, ...]:
        """How it stands with the groups of each model, in the order of the configuration."""
        return tuple(ModelStatus(model.config, model.backend.status()) for model in self._models)

    @asynccontextmanager
    async def served(self, request: CodeRequest) -> AsyncIterator[ServedModel]:
        """The model that a request is routed to, for a block that has nothing generated.

        The request counts as one of its caller all the same, without tokens, and is in the audit log.

        Raises:
          ServingError: as `Router.look` and `route`; a list in the request is too long; its caller has reached a limit.
        """
        with self.records.counting(request) as watch:
            async with self._quotas.admitted(request):
                model, *_ = await self._route(request)
                watch.model = model.config.id
                yield model

    async def count_tokens(self, request: CodeRequest) -> tuple[int, ModelInfo]:
        """How many tokens the rendered prompt is, BOS included, and for which model.

        Raises:
          ServingError: as `served`; a bad field; the prompt is longer than the context.
        """
        async with self.served(request) as model:
            context = self._quotas.context(request, model.max_context)
            # In a thread, as a long prompt is slow: other requests go on.
            ids, _ = await asyncio.to_thread(model.render, request, context)
            return len(ids), _info(model)

    async def generate(self, *requests: CodeRequest) -> AsyncGenerator[AnswerPart, None]:
        """Generate one answer to all requests; closing the generator aborts it and frees the engine.

        The choices of a request follow those of the one before it in their indices. A fault in any request is raised
        before the first piece.

        Raises:
          ServingError: what went wrong first. The other requests count as cancelled.
        """
        changed = asyncio.Event()
        opened: list[OpenRequest] = []
        choices = logprobs = 0
        async with AsyncExitStack() as closing:
            for position, request in enumerate(requests):
                place = f"[{position}]" if len(requests) > 1 else ""
                opened.append(self._open(request, place, choices, logprobs, changed))
                await opened[-1].prepare(self._route, closing)
                closing.callback(opened[-1].close)  # before its admission ends
                choices += request.choices
                logprobs = opened[-1].logprobs
            for each in opened:
                each.start()
            while any(each.usage is None for each in opened):
                await changed.wait()
                changed.clear()
                for each in opened:
                    for piece in each.take():
                        yield piece
                    await each.settle()
        model = opened[-1].model.config
        usage = sum((each.usage for each in opened if each.usage), Usage())
        truncation = sum((each.truncation for each in opened), Truncation())
        yield End(
            model=model.id,
            model_version=model.version,
            usage=usage,
            truncation=truncation,
            completion_id=opened[-1].completion_id,
        )

    def _open(
        self, request: CodeRequest, place: str, first_index: int, logprobs_before: int, changed: asyncio.Event
    ) -> OpenRequest:
        return OpenRequest(
            request,
            self._router.role(request),
            self.records,
            self._quotas,
            timeout_s=self._timeout_s if request.timeout_s is None else min(request.timeout_s, self._timeout_s),
            cache_domain="" if self._shares_cache else request.owner,
            place=place,
            first_index=first_index,
            logprobs_before=logprobs_before,
            on_change=changed.set,
        )

    async def _route(self, request: CodeRequest) -> tuple[ServedModel, ...]:
        check_sizes(request)
        await self._router.look(request.model or "", request.adapters)
        return self._router.route(request)


def _info(model: ServedModel) -> ModelInfo:
    config = model.config
    return ModelInfo(
        id=config.id,
        aliases=config.aliases,
        roles=config.roles,
        fim=model.renderer.fim_mode if Role.FIM in config.roles else None,
        chat=config.chat_format if Role.CHAT in config.roles else None,
        context_length=model.max_context,
        version=config.version,
    )
