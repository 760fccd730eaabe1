"""OpenRequest: one request from when the service takes it until it is answered, refused or given up."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress

from serving.config import Role
from serving.engine.request import GenerationRequest
from serving.errors import FieldError, Reason, ServingError, unforeseen
from serving.gateway.attempt import Attempt
from serving.gateway.choice import Choice, deadline_exceeded
from serving.gateway.feedback.completion_id import CompletionId
from serving.gateway.feedback.text_length import TextLength
from serving.gateway.quotas import Admission, Quotas
from serving.gateway.records import RequestRecords
from serving.gateway.request import CodeRequest, FimPrompt, Piece, Truncation, Usage
from serving.gateway.served_model import ServedModel
from serving.gateway.text.postprocessing.languages import language_of
from serving.gateway.validation import PROMPT_FIELDS, answer_logprobs, check_answer_logprobs, is_short
from serving.telemetry.tracing import request_span, traceparent_of

_log = logging.getLogger("ray.serve.gateway")  # below Ray Serve's logger, whose handlers write the log

_ANOTHER_MODEL_MAY = frozenset({Reason.OVERLOADED, Reason.UNAVAILABLE})


class OpenRequest:
    """A request that tries its models in turn until one can take it, with a deadline, a record and a span of its own.

    What goes wrong ends it: `prepare` and `settle` raise the `ServingError` for the client.

    Attributes:
      model: the model that answers, once it is prepared.
      usage: None until the answer is complete.
      truncation: what of the prompt the model is not given, once it is prepared.
      logprobs: that its answer may have and those to the prompts before it, once it is prepared.
    """

    model: ServedModel
    usage: Usage | None
    truncation: Truncation
    logprobs: int

    def __init__(
        self,
        request: CodeRequest,
        role: Role,
        records: RequestRecords,
        quotas: Quotas,
        *,
        timeout_s: float,
        cache_domain: str,
        place: str,
        first_index: int,
        logprobs_before: int,
        on_change: Callable[[], None],
    ) -> None:
        """Opens its record and its span; `close` it, once it is prepared.

        Args:
          request: the request.
          role: what it is for.
          records: keeps how it ends.
          quotas: how much its caller may ask for.
          timeout_s: after which it is late, from `request.sent_at`.
          cache_domain: of its generations.
          place: of its prompt among several: `[3]`; empty if there is one.
          first_index: of its choices among those of the whole answer.
          logprobs_before: that the answers to the prompts before it may have.
          on_change: called when there may be something to take or to settle.
        """
        self.usage = None
        self._request = request
        self._records = records
        self._quotas = quotas
        self._timeout_s = timeout_s
        self._cache_domain = cache_domain
        self._place = place
        self._first_index = first_index
        self._logprobs_before = logprobs_before
        self._on_change = on_change
        self._models: deque[ServedModel] = deque()
        self._admission: Admission | None = None
        self._attempt: Attempt | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late = False
        self._length = TextLength()
        about = {"codegemma.request_id": request.request_id, "codegemma.protocol": request.protocol}
        with ExitStack() as scope:
            self._watch = scope.enter_context(records.request(request, role))
            self._span = scope.enter_context(request_span(role, request.trace, about))
            self._watch.trace = traceparent_of(self._span)
            scope.enter_context(_client_errors(request, place))
            self._scope = scope.pop_all()

    async def prepare(
        self, route: Callable[[CodeRequest], Awaitable[tuple[ServedModel, ...]]], admitted: AsyncExitStack
    ) -> None:
        """Admits the request, finds the models that may answer, and renders the prompt for the first.

        Args:
          route: finds the models.
          admitted: it counts as running until this is closed.

        Raises:
          ServingError: a fault in the request; its caller has reached a limit.
        """
        with self._ending():
            self._admission = await admitted.enter_async_context(self._quotas.admitted(self._request))
            self._models.extend(await route(self._request))
            await self._next_attempt()

    def start(self) -> None:
        """Has the answer generated, which may take as long as is left."""
        assert self._attempt is not None
        if self._timer is None:
            left_s = max(self._request.sent_at + self._timeout_s - time.time(), 0)
            self._timer = asyncio.get_running_loop().call_later(left_s, self._be_late)
        with self._ending():
            self._attempt.start()

    def take(self) -> Iterator[Piece]:
        """The pieces that came since the last call."""
        assert self._attempt is not None
        for piece in self._attempt.take():
            self._watch.piece(piece)
            if piece.index == self._first_index:
                self._length.add(piece.text)
            yield piece

    @property
    def completion_id(self) -> str:
        """Names the answer, once it is complete."""
        request, model = self._request, self.model.config
        path = request.prompt.path if isinstance(request.prompt, FimPrompt) else ""
        language = language_of(request.language, path).name
        length = self._length
        assert self._attempt is not None
        completion = CompletionId(
            self._attempt.generation_id, model.id, model.version, language, length.lines, length.characters
        )
        return self._records.completion_ids.written(completion)

    async def settle(self) -> None:
        """Ends the request if all pieces of its answer are taken; tries the next model if this one cannot take it.

        Raises:
          ServingError: what went wrong, once the pieces that came before it are taken.
        """
        attempt = self._attempt
        assert attempt is not None
        if self.usage is not None or attempt.has_pieces:
            return
        if attempt.complete:
            self._complete(attempt.usage)
        elif attempt.failure is not None or self._late:
            with self._ending():
                await self._go_on_after(attempt)

    def close(self) -> None:
        """Ends what is still generated, and counts what was; a request that has not ended yet counts as cancelled."""
        if self._timer is not None:  # it was started
            self._timer.cancel()
            assert self._attempt is not None
            self._attempt.abort()
            self._count(self._attempt)
        with suppress(GeneratorExit), self._scope:
            raise GeneratorExit

    async def _next_attempt(self) -> None:
        model = self.model = self._models.popleft()
        self._watch.model = model.config.id
        if is_short(self._request):
            generation, choices, self.truncation = self._prepared_for(model)
        else:  # in a thread, as it is slow: other requests go on
            generation, choices, self.truncation = await asyncio.to_thread(self._prepared_for, model)
        most = answer_logprobs(self._request, len(generation.prompt_ids), generation.max_tokens)
        self.logprobs = self._logprobs_before + most
        if self._place:  # the answer to a single prompt is shortened instead
            check_answer_logprobs(self._request, self.logprobs, self._place)
        assert self._admission is not None
        await self._admission.reserve(len(generation.prompt_ids) + len(choices) * generation.max_tokens)
        self._attempt = Attempt(model, generation, choices, self._on_change)

    def _prepared_for(self, model: ServedModel) -> tuple[GenerationRequest, list[Choice], Truncation]:
        request = self._request
        generation, truncation = model.generation(
            request,
            self._quotas.context(request, model.max_context),
            timeout_s=self._timeout_s,
            cache_domain=self._cache_domain,
            trace=self._watch.trace,
        )
        indices = range(self._first_index, self._first_index + request.choices)
        return generation, [model.choice(request, generation, index) for index in indices], truncation

    async def _go_on_after(self, attempt: Attempt) -> None:
        if attempt.failure is None:
            raise deadline_exceeded(self._timeout_s)
        reason = attempt.failure.reason if isinstance(attempt.failure, ServingError) else None
        if attempt.begun or self._late or not self._models or reason not in _ANOTHER_MODEL_MAY:
            raise attempt.failure
        await self._next_attempt()
        self.start()

    def _complete(self, usage: Usage) -> None:
        self.usage = usage
        self._watch.prompt_tokens = usage.prompt_tokens
        self._watch.tokens = usage.completion_tokens
        self._watch.truncation = self.truncation
        self._span.set_attributes(
            {
                "gen_ai.response.model": self.model.config.id,
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "codegemma.cached_tokens": usage.cached_tokens,
            }
        )
        self._scope.close()

    def _count(self, attempt: Attempt) -> None:
        assert self._admission is not None
        usage = attempt.usage
        if attempt.failure is None or usage.completion_tokens:  # a request that no model took costs nothing
            self._admission.used = usage.prompt_tokens + usage.completion_tokens

    def _be_late(self) -> None:
        self._late = True
        assert self._attempt is not None
        self._attempt.abort()
        self._on_change()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Ends the request with what goes wrong in the block."""
        try:
            yield
        except BaseException:
            with self._scope:
                raise


@contextmanager
def _client_errors(request: CodeRequest, place: str) -> Iterator[None]:
    """Turns a failure into the error for the client: `prompt[3]` is too long, `prompt[3][1]` is no token."""
    try:
        yield
    except FieldError as error:
        if place and error.name in PROMPT_FIELDS:
            raise FieldError(error.reason, error.name, error.fault, f"{place}{error.place}") from error
        raise
    except ServingError:
        raise
    except Exception as error:
        _log.exception("request %s failed", request.request_id)
        raise unforeseen(request.request_id) from error
