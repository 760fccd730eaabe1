"""Traces: what became of one request, from the wire to each step on the devices (OpenTelemetry).

A request is followed if its client says so (W3C `traceparent`, as header or metadata) or the sampler does. Where spans
go is said by the environment of every process of the service:

- `OTEL_EXPORTER_OTLP_ENDPOINT`: a collector, over HTTP; needs `pip install codegemma-serving[tracing]`.
- `CODEGEMMA_TRACE_FILE`: a file to which each process appends its spans, one JSON object a line.
- `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`: which requests; by default all but those whose client says not to.

Without the first two nothing is followed. No span holds text of a prompt or an answer.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.errors import ServingError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACE_FILE = "CODEGEMMA_TRACE_FILE"
_SERVICE = "codegemma-serving"
_NANO = 1_000_000_000
_FLUSH_MS = 5000

type Attributes = Mapping[str, str | int | float | bool]


def start_tracing() -> None:
    """Opens the exporter of spans, so that a wrong setting shows when a process starts, not in its requests.

    Raises:
      ValueError: spans cannot go where the environment says.
    """
    _provider()


def flush_tracing() -> None:
    """Waits until all spans that have ended are written, for some seconds at most."""
    if provider := _provider():
        provider.force_flush(_FLUSH_MS)


@contextmanager
def request_span(name: str, parent: str, attributes: Attributes) -> Iterator[Span]:
    """The first span of a request in this service; ends with the block, and says how.

    Args:
      name: what was asked for.
      parent: the client's `traceparent`, or empty.
      attributes: what there is to say of the request.
    """
    span = _tracer().start_span(name, _context(parent), SpanKind.SERVER, attributes)
    try:
        yield span
    except ServingError as error:
        span.set_status(StatusCode.ERROR, str(error.reason))
        raise
    except (GeneratorExit, asyncio.CancelledError):
        span.set_status(StatusCode.ERROR, "cancelled")
        raise
    except BaseException as error:
        span.set_status(StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        span.end()


def past_span(name: str, parent: str, started_at: float, ended_at: float, attributes: Attributes) -> str:
    """Makes a span within another of what is over already.

    Args:
      name: what happened.
      parent: `traceparent_of` the other.
      started_at: Unix time.
      ended_at: Unix time.
      attributes: what there is to say.

    Returns:
      Its `traceparent`.
    """
    start_ns, end_ns = (round(at * _NANO) for at in (started_at, ended_at))
    span = _tracer().start_span(name, _context(parent), attributes=attributes, start_time=start_ns)
    span.end(end_ns)
    return traceparent_of(span)


def traceparent_of(span: Span) -> str:
    """Names a span to those who make parts of it, as W3C says; empty for one that is not followed."""
    context = span.get_span_context()
    # Without an exporter, OpenTelemetry hands on the client's own span, which is not traced here.
    if _provider() is None or not (context.is_valid and context.trace_flags.sampled):
        return ""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier["traceparent"]


def _context(traceparent: str) -> Context:
    if _provider() is None:
        return Context()  # of which nothing is made
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())


@cache
def _tracer() -> trace.Tracer:
    provider = _provider()
    return trace.NoOpTracer() if provider is None else provider.get_tracer(_SERVICE)


@cache
def _provider() -> "TracerProvider | None":
    exporter = _exporter()
    if exporter is None:
        return None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": _SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter() -> "SpanExporter | None":
    if path := os.environ.get(_TRACE_FILE):
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        try:  # appended a line at a time, so that processes can share the file
            file = open(path, "a", buffering=1)  # noqa: SIM115 - for as long as the process lives
        except OSError as error:
            raise ValueError(
                f"{_TRACE_FILE}={path}: {error.strerror}. Name a file that every process of the service may write."
            ) from None
        return ConsoleSpanExporter(out=file, formatter=lambda span: span.to_json(indent=None) + "\n")
    if os.environ.get(_OTLP_ENDPOINT):
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            raise ValueError(
                f"{_OTLP_ENDPOINT} is set, but the package that sends spans is missing: "
                "pip install codegemma-serving[tracing], or unset it."
            ) from None
        return OTLPSpanExporter()
    return None
