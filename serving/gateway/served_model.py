"""ServedModel: one model as the Gateway sees it, and what a request becomes for it: tokens in, filtered text out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from functools import cached_property
from secrets import token_hex

from msgspec.structs import replace

from serving.config import ModelConfig
from serving.engine.request import GenerationRequest, Priority
from serving.errors import FieldError, Reason, ServingError
from serving.gateway.backend import ModelBackend
from serving.gateway.choice import Choice
from serving.gateway.quotas import ContextLimit
from serving.gateway.request import ChatPrompt, CodeRequest, FimPrompt, Prompt, TextPrompt, TokenPrompt, Truncation
from serving.gateway.sampling import token_biases
from serving.gateway.shown import shown
from serving.gateway.text.answer_text import AnswerText, TextFilter
from serving.gateway.text.least_indent import LeastIndent
from serving.gateway.text.postprocessing.filters import infill_filters
from serving.gateway.text.predict_time import PredictTime
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.shown_prompt import ScoredPrompt, ShownPrompt
from serving.gateway.text.stops import StopTexts
from serving.gateway.text.tokenizer import Tokenizer
from serving.gateway.validation import check_request, fewest_tokens, max_tokens, prompt_field
from serving.models.adapted_id import adapted_id
from serving.models.adapter_directory import AdapterDirectory

_RETRY_AFTER_S = 5.0


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model.

    Attributes:
      max_context: tokens of prompt and generation together.
      adapters: those that it may be asked for with; None if it has none.
      adapter: the one that it is with; empty: as it is.
    """

    config: ModelConfig
    tokenizer: Tokenizer
    backend: ModelBackend
    max_context: int
    adapters: AdapterDirectory | None = None
    adapter: str = ""
    _adapted: dict[str, "ServedModel"] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def adapted(self) -> tuple["ServedModel", ...]:
        """The model with each of its adapters."""
        return () if self.adapters is None else tuple(map(self._with, self.adapters.names))

    async def look_for(self, adapter: str) -> None:
        """Has `with_adapter` know an adapter that has just come.

        Raises:
          ServingError: UNAVAILABLE: it is not known, and the disk that may have it does not answer.
        """
        try:
            if self.adapters is not None:
                await self.adapters.look(adapter)
        except TimeoutError:
            raise ServingError(
                Reason.UNAVAILABLE,
                f"The disk with the adapters of {self.config.id!r} does not answer, and {shown(adapter)} is not known "
                "yet. Try again.",
                retry_after_s=_RETRY_AFTER_S,
            ) from None

    def with_adapter(self, name: str) -> "ServedModel":
        """The model with one of its adapters: a model of its own for callers, metrics and logs.

        Raises:
          KeyError: it has none of this name.
        """
        if self.adapters is None or not self.adapters.stamp(name):
            raise KeyError(name)
        return self._with(name)

    def _with(self, name: str) -> "ServedModel":
        if name not in self._adapted:
            config = self.config.model_copy(update={"id": adapted_id(self.config.id, name), "aliases": ()})
            self._adapted[name] = replace_fields(self, config=config, adapters=None, adapter=name)
        return self._adapted[name]

    @cached_property
    def renderer(self) -> PromptRenderer:
        """Renders its prompts."""
        return PromptRenderer(self.tokenizer, self.config.fim_format, self.config.chat_format)

    def render(self, request: CodeRequest, limit: ContextLimit) -> tuple[list[int], Truncation]:
        """The ids of a prompt, cut to the limit, and what was left out; for a request whose fields are in range.

        Raises:
          ServingError: a bad field; the prompt is longer than the context.
        """
        check_request(request)
        # Megabytes are refused without tokenizing them.
        tokens = fewest_tokens(request.prompt, self.tokenizer.longest_piece)
        if tokens < limit.tokens:
            ids, truncation = self._rendered(request.prompt, limit.tokens)
            if len(ids) < limit.tokens:
                return ids, truncation
            tokens = len(ids)
        raise FieldError(
            Reason.CONTEXT_LENGTH_EXCEEDED,
            prompt_field(request.prompt),
            f"does not fit: the prompt is too long. It has at least {tokens} tokens, and this model's maximum context "
            f"length is {limit}, prompt and answer together. Shorten the prompt.",
        )

    def generation(
        self, request: CodeRequest, limit: ContextLimit, *, timeout_s: float, cache_domain: str, trace: str
    ) -> tuple[GenerationRequest, Truncation]:
        """The generation for a request, the same for all of its choices, and what was left out of its prompt.

        Takes a while for a long prompt.

        Raises:
          ServingError: a bad field; prompt and answer are longer than the context.
        """
        if request.echo and request.prompt_logprobs and self.renderer.infill(request.prompt):
            raise FieldError(
                Reason.UNSUPPORTED_PARAMETER,
                "echo",
                "is not supported here together with logprobs where code is filled in. Leave it out.",
            )
        prompt_ids, truncation = self.render(request, limit)
        most = max_tokens(request, self.config.default_max_tokens, len(prompt_ids), limit.tokens - len(prompt_ids))
        # No editor waits for computing or scoring a prompt: it goes behind completions, and supersedes none.
        waited_for = most > 0 and not request.prompt_logprobs
        is_urgent = waited_for and self.renderer.fills_in(request.prompt, prompt_ids)
        generation = GenerationRequest(
            request_id=f"{request.request_id}-{token_hex(4)}",  # clients may repeat their ids
            prompt_ids=tuple(prompt_ids),
            max_tokens=max(most, 1),  # an engine needs at least one token to generate
            sampling=replace(request.sampling, logit_bias=token_biases(request.logit_bias, self.tokenizer)),
            stop_ids=self.tokenizer.terminator_ids | self.tokenizer.known(request.stop_ids),
            timeout_s=timeout_s,
            sent_at=request.sent_at,
            priority=Priority.URGENT if is_urgent else Priority.NORMAL,
            session_id=request.session,
            repeated=request.repeated,
            cache_domain=cache_domain,
            adapter=self.adapter,
            trace=trace,
            scores_prompt=request.prompt_logprobs,
        )
        return generation, truncation

    def choice(self, request: CodeRequest, generation: GenerationRequest, index: int) -> Choice:
        """One choice of the answer to a request, before the first token of its `generation`.

        Takes a while for long or odd code.
        """
        stops = StopTexts(request.stop)
        prompt = self._shown_prompt(request, generation.prompt_ids)
        time_limit = None if request.predict_s is None else PredictTime(request.predict_s)
        answer = AnswerText(self.tokenizer, self._filters(request, stops), time_limit, offset=len(prompt.text))
        prompt_only = request.max_tokens == 0
        return Choice(self.config, index, prompt, answer, stops, generation.timeout_s, prompt_only=prompt_only)

    def _shown_prompt(self, request: CodeRequest, ids: Sequence[int]) -> ShownPrompt:
        text = self._echoed(request.prompt) if request.echo else ""
        if not request.prompt_logprobs:
            return ShownPrompt(text)
        is_text = isinstance(request.prompt, TextPrompt)
        shows_bos = not (request.echo and is_text) or self.renderer.writes_bos(request.prompt)
        return ScoredPrompt(self.tokenizer, ids, text, shows_bos=shows_bos, shows_controls=is_text)

    def _echoed(self, prompt: Prompt) -> str:
        match prompt:
            case TextPrompt(text) | FimPrompt(prefix=text):
                return text
            case TokenPrompt(ids):
                return self.tokenizer.decode(ids)
            case ChatPrompt():
                return ""

    def _rendered(self, prompt: Prompt, limit: int) -> tuple[list[int], Truncation]:
        if infill := self.renderer.infill(prompt):
            fim = self.renderer.fim.render(infill, limit)
            return fim.ids, fim.truncation
        return self.renderer.render(prompt, limit), Truncation()

    def _filters(self, request: CodeRequest, stops: StopTexts) -> list[TextFilter]:
        line_end = ("\r\n", "\n") if request.post_processing.single_line else ()
        filters: list[TextFilter] = [stops, StopTexts((*self.renderer.stops(request.prompt), *line_end))]
        if request.least_indent:
            filters.append(LeastIndent(request.least_indent))
        if prompt := self.renderer.infill(request.prompt):
            sees_suffix = self.renderer.fim_mode == "native"
            filters += infill_filters(prompt, request.language, request.post_processing, sees_suffix=sees_suffix)
        return filters
