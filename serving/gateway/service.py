"""CodeService: from a request in text to an answer in text, whatever protocol carries them."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from dataclasses import replace as replace_fields

from msgspec.structs import replace

from serving.config import GatewayConfig, ModelConfig, Role, RoutingConfig
from serving.engine.request import GenerationRequest, Priority
from serving.errors import FieldError, Reason, ServingError
from serving.gateway.access import Access, OpenAccess
from serving.gateway.choice import Choice, ModelBackend, deadline_exceeded
from serving.gateway.merge import merge
from serving.gateway.quotas import Admission, ContextLimit, Quotas, quotas_for
from serving.gateway.records import RequestRecords, RequestWatch
from serving.gateway.request import CodeChunk, CodeRequest, FimPrompt, Usage
from serving.gateway.routing import Router
from serving.gateway.shown import shown
from serving.gateway.text.answer import Answer, TextFilter
from serving.gateway.text.line_breaks import LineBreakJoin
from serving.gateway.text.prompts import FimMode, PromptRenderer
from serving.gateway.text.stops import StopTexts
from serving.gateway.text.suffix_stop import SuffixStop
from serving.gateway.text.tokenizer import Tokenizer
from serving.gateway.validation import MAX_SEED, check_request, check_sizes, fewest_tokens, prompt_field
from serving.telemetry.recorder import NoRecorder
from serving.telemetry.tracing import request_span, traceparent_of

_log = logging.getLogger("ray.serve.gateway")  # below Ray Serve's logger, whose handlers write the log


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model as the gateway sees it.

    Attributes:
      max_context: tokens of prompt and generation together.
    """

    config: ModelConfig
    tokenizer: Tokenizer
    backend: ModelBackend
    max_context: int


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What clients are told about a model.

    Attributes:
      fim: "native" if it has FIM tokens, "prefix" if it continues the prefix and stops where the suffix
        begins, None if it does not serve FIM.
      context_length: tokens of prompt and generation together.
    """

    id: str
    aliases: tuple[str, ...]
    roles: tuple[Role, ...]
    fim: FimMode | None
    context_length: int
    version: str


@dataclass(frozen=True, slots=True)
class Health:
    """How a service is.

    Attributes:
      ready: whether requests should come.
      unavailable: ids of the models that no group answers for now.
    """

    ready: bool
    unavailable: tuple[str, ...]


_NO_ROUTING = RoutingConfig()
_OPEN = OpenAccess()
_ANOTHER_MODEL_MAY = frozenset({Reason.OVERLOADED, Reason.UNAVAILABLE})


class CodeService:
    """Answers code requests from a set of models."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        gateway: GatewayConfig,
        routing: RoutingConfig = _NO_ROUTING,
        access: Access = _OPEN,
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
        self.records = records or RequestRecords(NoRecorder())
        self._quotas = quotas or quotas_for(gateway)
        self._models = tuple(models)
        self._router = Router(models, routing)
        self._timeout_s = gateway.request_timeout_s
        self._shares_cache = gateway.shares_cache
        self._was_complete = False
        self._renderers = {
            model.config.id: PromptRenderer(model.tokenizer, model.config.fim_format) for model in models
        }
        for model in models:
            if Role.CHAT in model.config.roles and not self._renderers[model.config.id].serves_chat:
                raise ValueError(
                    f"models: {model.config.id} has the role 'chat', but its tokenizer has no turn tokens. "
                    "Take the role away, or point `tokenizer` at the tokenizer of an instruction-tuned Gemma."
                )

    def models(self) -> tuple[ModelInfo, ...]:
        """The models, in the order of the configuration."""
        return tuple(map(self._info, self._models))

    def model(self, name: str) -> ModelInfo:
        """One model by id or alias.

        Raises:
          ServingError: MODEL_NOT_FOUND.
        """
        return self._info(self._router.named(name))

    async def health(self) -> Health:
        """Whether requests should come here, and which models no group answers for now.

        Not before every model has answered once, so that nobody comes to a service that is starting. From then on one
        model is enough: that chat is down must not take completions out of service.
        """
        answers = await asyncio.gather(*(model.backend.ready() for model in self._models))
        unavailable = tuple(
            model.config.id for model, answering in zip(self._models, answers, strict=True) if not answering
        )
        self._was_complete = self._was_complete or not unavailable
        return Health(ready=self._was_complete and any(answers), unavailable=unavailable)

    def count_tokens(self, request: CodeRequest) -> tuple[int, ModelInfo]:
        """How many tokens the rendered prompt is, BOS included, and for which model.

        Raises:
          ServingError: MODEL_NOT_FOUND; ROLE_NOT_SERVED; a bad field; the prompt is longer than the context.
        """
        model, *_ = self._route(request)
        return len(self._render(model, request)), self._info(model)

    async def check(self, request: CodeRequest) -> None:
        """Raises ServingError if `generate` would refuse this request for what it is; it then is recorded, too."""
        try:
            model, *_ = self._route(request)
            prompt_ids = await asyncio.to_thread(self._render, model, request)
            self._max_tokens(model, request, len(prompt_ids))
        except ServingError:
            with self.records.request(request, self._router.role(request)):
                raise

    async def generate(self, request: CodeRequest) -> AsyncGenerator[CodeChunk, None]:
        """Generate an answer; closing the generator aborts it and frees the engine.

        The last chunk of each choice has a finish reason; one last chunk has the usage and no text. A fault in
        the request is raised before the first chunk.

        Raises:
          ServingError: anything that went wrong.
        """
        timeout_s = self._timeout_s if request.timeout_s is None else min(request.timeout_s, self._timeout_s)
        role = self._router.role(request)
        about = {"codegemma.request_id": request.request_id, "codegemma.protocol": request.protocol}
        with self.records.request(request, role) as watch, request_span(role, request.trace, about) as span:
            watch.trace = traceparent_of(span)
            traced = replace_fields(request, trace=watch.trace)
            async with (
                self._quotas.admitted(request) as admission,
                aclosing(self._answer(traced, timeout_s, watch, admission)) as chunks,
            ):
                async for chunk in chunks:
                    watch.chunk(chunk)
                    if chunk.usage:
                        span.set_attributes(_spoken_of(chunk, chunk.usage))
                    yield chunk

    async def _answer(
        self, request: CodeRequest, timeout_s: float, watch: RequestWatch, admission: Admission
    ) -> AsyncGenerator[CodeChunk, None]:
        """The answer of the model that the request is routed to, or of the next if that cannot take it."""
        try:
            models = self._route(request)
            for model in models:
                watch.model = model.config.id
                begun = False
                try:
                    async with aclosing(self._generate_on(model, request, timeout_s, admission)) as chunks:
                        async for chunk in chunks:
                            begun = True
                            yield chunk
                    return
                except ServingError as error:
                    if begun or model is models[-1] or error.reason not in _ANOTHER_MODEL_MAY:
                        raise
        except ServingError:
            raise
        except TimeoutError as error:
            raise deadline_exceeded(timeout_s) from error
        except Exception as error:
            _log.exception("request %s failed", request.request_id)
            raise ServingError(
                Reason.INTERNAL, f"The server failed on request {request.request_id}; its log says more."
            ) from error

    async def _generate_on(
        self, model: ServedModel, request: CodeRequest, timeout_s: float, admission: Admission
    ) -> AsyncGenerator[CodeChunk, None]:
        # In a thread: a long prompt takes a while, in which other requests go on.
        prompt_ids = tuple(await asyncio.to_thread(self._render, model, request))
        max_tokens = self._max_tokens(model, request, len(prompt_ids))
        await admission.reserve(len(prompt_ids) + request.choices * max_tokens)
        renderer = self._renderers[model.config.id]
        whole = GenerationRequest(
            request_id=f"{request.request_id}-{uuid.uuid4().hex[:8]}",  # clients may repeat their ids
            prompt_ids=prompt_ids,
            max_tokens=max_tokens,
            sampling=request.sampling,
            stop_ids=model.tokenizer.terminator_ids,
            timeout_s=timeout_s,
            sent_at=request.sent_at,
            priority=Priority.URGENT if renderer.fills_in(request.prompt, prompt_ids) else Priority.NORMAL,
            session_id=request.session,
            cache_domain="" if self._shares_cache else request.owner,
            trace=request.trace,
        )
        choices = [
            Choice(model.config, index, Answer(model.tokenizer, self._filters(model, request)), _choice(whole, index))
            for index in range(request.choices)
        ]
        left_s = max(request.sent_at + timeout_s - time.time(), 0)
        async with aclosing(merge([choice.chunks(model.backend) for choice in choices], left_s)) as chunks:
            async for chunk in chunks:
                admission.used = len(prompt_ids) + sum(choice.answer.tokens for choice in choices)
                yield chunk
        yield CodeChunk(
            model=model.config.id,
            model_version=model.config.version,
            usage=Usage(
                prompt_tokens=len(prompt_ids),
                completion_tokens=sum(choice.answer.tokens for choice in choices),
                cached_tokens=min(choice.cached_tokens for choice in choices),
            ),
        )

    def _route(self, request: CodeRequest) -> tuple[ServedModel, ...]:
        check_sizes(request)
        return self._router.route(request)

    def _render(self, model: ServedModel, request: CodeRequest) -> list[int]:
        """The ids of a prompt that fits the context, of a request whose fields are in range."""
        check_request(request, model.tokenizer.vocab_size)
        # Megabytes are refused without tokenizing them.
        limit = self._context(model, request)
        tokens = fewest_tokens(request.prompt, model.tokenizer.longest_piece)
        if tokens < limit.tokens:
            ids = self._renderers[model.config.id].render(request.prompt, limit.tokens)
            if len(ids) < limit.tokens:
                return ids
            tokens = len(ids)
        raise FieldError(
            Reason.CONTEXT_LENGTH_EXCEEDED,
            prompt_field(request.prompt),
            f"is too long: the prompt has at least {tokens} tokens, and this model's maximum context length is "
            f"{limit}, prompt and answer together. Shorten the prompt.",
        )

    def _context(self, model: ServedModel, request: CodeRequest) -> ContextLimit:
        return self._quotas.context(request, model.max_context)

    def _max_tokens(self, model: ServedModel, request: CodeRequest, prompt_tokens: int) -> int:
        limit = self._context(model, request)
        room = limit.tokens - prompt_tokens
        if request.max_tokens is None:
            return min(model.config.default_max_tokens, room)
        if request.max_tokens > room:
            raise FieldError(
                Reason.CONTEXT_LENGTH_EXCEEDED,
                "max_tokens",
                f"is {shown(request.max_tokens)}, and the prompt has {prompt_tokens} tokens; this model's maximum "
                f"context length is {limit}, prompt and answer together. Ask for at most {room}.",
            )
        return request.max_tokens

    def _filters(self, model: ServedModel, request: CodeRequest) -> list[TextFilter]:
        filters: list[TextFilter] = [StopTexts(request.stop)]
        if isinstance(prompt := request.prompt, FimPrompt):
            if self._renderers[model.config.id].fim_mode == "prefix":
                filters.append(SuffixStop(prompt.prefix, prompt.suffix))
            filters.append(LineBreakJoin(prompt.prefix, prompt.suffix))
        return filters

    def _info(self, model: ServedModel) -> ModelInfo:
        config = model.config
        return ModelInfo(
            id=config.id,
            aliases=config.aliases,
            roles=config.roles,
            fim=self._renderers[config.id].fim_mode if Role.FIM in config.roles else None,
            context_length=model.max_context,
            version=config.version,
        )


def _spoken_of(chunk: CodeChunk, usage: Usage) -> dict[str, str | int]:
    """What a span says of an answer."""
    return {
        "gen_ai.response.model": chunk.model,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "codegemma.cached_tokens": usage.cached_tokens,
    }


def _choice(whole: GenerationRequest, index: int) -> GenerationRequest:
    sampling = replace(whole.sampling, seed=(whole.sampling.seed + index) % (MAX_SEED + 1))
    return replace(whole, request_id=f"{whole.request_id}-{index}", sampling=sampling)
