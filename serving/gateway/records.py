"""RequestRecords: how long the requests of a Gateway take and how they end, in the metrics and in the log.

Neither holds text of a prompt or of an answer.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, get_args

from serving.config import ModelConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import Caller
from serving.gateway.audit import Audit, NoAudit
from serving.gateway.call_metadata import CallMetadata
from serving.gateway.feedback.completion_id import CompletionIds
from serving.gateway.feedback.feedback import CompletionEvent, Feedback
from serving.gateway.request import CodeRequest, Piece, TruncatedPart, Truncation
from serving.models.adapter_directory import AdapterDirectory
from serving.telemetry import metrics
from serving.telemetry.recorder import Recorder

_log = logging.getLogger("ray.serve.request")  # below Ray Serve's logger, whose handlers write the log

_OK = "ok"
_CANCELLED = "cancelled"
_ENDS = (_OK, _CANCELLED, *Reason)
_PROTOCOLS = ("http", "grpc")
_UNPROTECTED_IDS = CompletionIds(b"")


class Pool(Protocol):
    """What a model's groups tell of themselves."""

    @property
    def waiting(self) -> int: ...
    @property
    def groups(self) -> int: ...


class RequestRecords:
    """Records each request as it ends, and the open ones on demand.

    Attributes:
      completion_ids: makes the ids by which clients report what became of answers.
    """

    def __init__(
        self,
        recorder: Recorder,
        models: Sequence[ModelConfig] = (),
        audit: Audit | None = None,
        completion_ids: CompletionIds = _UNPROTECTED_IDS,
    ) -> None:
        """Begins every counter of these models at 0, so that Prometheus sees the first increase."""
        self.completion_ids = completion_ids
        self._recorder = recorder
        self._audit = audit or NoAudit()
        self._feedback = Feedback(recorder, models, completion_ids)
        self._open: Counter[str] = Counter()
        for model in models:
            for role in model.roles:
                for protocol in _PROTOCOLS:
                    for reason in _ENDS:
                        labels = {"model": model.id, "role": role, "protocol": protocol, "reason": reason}
                        recorder.record(metrics.REQUESTS, 0, **labels)
            if Role.FIM in model.roles:
                for part in get_args(TruncatedPart):
                    recorder.record(metrics.TRUNCATED, 0, model=model.id, part=part)
        for protocol in _PROTOCOLS:
            for reason in Reason:
                recorder.record(metrics.REFUSED, 0, protocol=protocol, reason=reason)

    def completion_event(
        self, caller: Caller, metadata: CallMetadata, completion_id: str, event: CompletionEvent, characters: int = 0
    ) -> None:
        """Records what became of a completion.

        Args:
          caller: who reports it.
          metadata: of the call that reports it.
          completion_id: as `Feedback.record`.
          event: as there.
          characters: that were accepted, as there.

        Raises:
          ServingError: as `Feedback.record`.
        """
        completion = self._feedback.record(completion_id, event, characters)
        self._audit.event(caller, metadata, completion_id, completion.model, event)

    @contextmanager
    def reading(self, protocol: str) -> Iterator[None]:
        """Watches the block in which a protocol finds out who calls and what for."""
        try:
            yield
        except ServingError as error:
            self._recorder.record(metrics.REFUSED, 1, protocol=protocol, reason=error.reason)
            raise

    @contextmanager
    def request(self, request: CodeRequest, role: Role) -> Iterator["RequestWatch"]:
        """Watches a request for as long as the block runs; what leaves the block says how it ended."""
        watch = RequestWatch(request)
        self._open[request.protocol] += 1
        with _reported_outcome(lambda outcome: self._answered(request, role, watch, outcome)):
            yield watch

    @contextmanager
    def counting(self, request: CodeRequest) -> Iterator["RequestWatch"]:
        """Watches a request that has nothing generated: the audit log has it, the metrics of answers have not."""
        watch = RequestWatch(request)
        with _reported_outcome(lambda outcome: self._audit.request(request, watch.model, 0, 0, outcome)):
            yield watch

    def _answered(self, request: CodeRequest, role: Role, watch: "RequestWatch", outcome: str) -> None:
        self._open[request.protocol] -= 1
        labels = {"model": watch.model, "role": str(role), "protocol": request.protocol}
        self._audit.request(request, watch.model, watch.prompt_tokens, watch.tokens, outcome)
        durations = dict(watch.durations(complete=outcome == _OK))
        self._recorder.record(metrics.REQUESTS, 1, **labels, reason=outcome)
        for metric, seconds in durations.items():
            self._recorder.record(metric, seconds, **labels)
        for part in watch.truncation.parts if watch.truncation else ():
            self._recorder.record(metrics.TRUNCATED, 1, model=watch.model, part=part)
        _log.info(
            "%s: %s",
            request.request_id,
            outcome,
            extra=labels
            | {"client_request_id": request.request_id, "reason": outcome, "tenant": request.tenant}
            | {"trace": watch.trace, "tokens": watch.tokens}
            | {metric.name.removeprefix("codegemma_"): round(seconds, 4) for metric, seconds in durations.items()},
        )

    def report(self, pools: Mapping[str, Pool], directories: Mapping[str, AdapterDirectory]) -> None:
        """Records what is open now, and how it stands with the groups and the adapters of each model.

        Args:
          pools: the groups by model.
          directories: the adapters by model, of those that have any.
        """
        for protocol in _PROTOCOLS:
            self._recorder.record(metrics.OPEN_REQUESTS, self._open[protocol], protocol=protocol)
        for model, pool in pools.items():
            self._recorder.record(metrics.WAITING_REQUESTS, pool.waiting, model=model)
            self._recorder.record(metrics.READY_GROUPS, pool.groups, model=model)
        for model, directory in directories.items():
            self._recorder.record(metrics.ADAPTER_DIRECTORY_AGE, directory.age_s, model=model)


@contextmanager
def _reported_outcome(report: Callable[[str], None]) -> Iterator[None]:
    """Reports how the block ended: `ok`, `cancelled`, or an error's reason."""
    outcome = _OK
    try:
        yield
    except ServingError as error:
        outcome = str(error.reason)
        raise
    except (GeneratorExit, asyncio.CancelledError):
        outcome = _CANCELLED
        raise
    except BaseException:
        outcome = str(Reason.INTERNAL)
        raise
    finally:
        report(outcome)


class RequestWatch:
    """One request, watched as its answer passes.

    Attributes:
      model: the model that answers; empty until one is chosen.
      trace: names the request's span, as W3C's `traceparent`; empty if it is not traced.
      prompt_tokens: of the prompt of a complete answer.
      tokens: of a complete answer.
      truncation: what of the prompt was left out, of a complete answer.
    """

    def __init__(self, request: CodeRequest) -> None:
        self.model = ""
        self.trace = ""
        self.prompt_tokens = 0
        self.tokens = 0
        self.truncation = Truncation()
        self._request = request
        self._first_at: float | None = None

    def piece(self, piece: Piece) -> None:
        """Sees a piece of the answer."""
        if self._first_at is None and piece.text and not piece.prompt_logprobs:
            self._first_at = time.time()

    def durations(self, *, complete: bool) -> Iterator[tuple[metrics.Metric, float]]:
        """What there is to tell of its times, in seconds."""
        now = time.time()
        if self._first_at is not None:
            yield metrics.TIME_TO_FIRST_TOKEN, self._first_at - self._request.sent_at
            if complete and self.tokens > 1 and self._request.choices == 1:  # several are generated side by side
                yield metrics.TIME_PER_OUTPUT_TOKEN, (now - self._first_at) / (self.tokens - 1)
        if complete:
            yield metrics.REQUEST_SECONDS, now - self._request.sent_at
