"""Traces, named after the OpenTelemetry conventions."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, SpanContext, TraceFlags

from services.runtime.observability import error_format
from services.runtime.observability.structured_logging import FAULT_STATUSES

OTLP_ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
_LINKS_MAX = 32
TRACEPARENT_HEADER = "traceparent"
# Of a valid span, whose ids are not zero.
_TRACEPARENT = re.compile(
    r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
)

_tracer = trace.get_tracer("recurring")
_NO_SPAN = contextlib.nullcontext()


def start_tracing(service: str, *processors: SpanProcessor) -> TracerProvider:
    """Start tracing; traces are exported by OTLP if the environment sets an endpoint."""
    exported = bool(os.environ.get(OTLP_ENDPOINT_VARIABLE))
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"recurring-{service}"}),
        # Spans that are not exported only need ids, for logs and for the services that are called.
        sampler=None if processors or exported else ALWAYS_OFF,
    )
    for processor in processors:
        provider.add_span_processor(processor)
    if exported:
        # Imported here, since it takes memory that only an exporting process should spend.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def current_traceparent() -> str:
    """The current span as a W3C traceparent; empty when there is none."""
    return traceparent(trace.get_current_span().get_span_context())


def traceparent(span: SpanContext) -> str:
    """A span as a W3C traceparent; empty when it is not valid."""
    if not span.is_valid:
        return ""
    return _traceparent(span.trace_id, span.span_id, span.trace_flags)


def _traceparent(trace_id: int, span_id: int, flags: int) -> str:
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def _unexported_ids() -> IdGenerator | None:
    """The generator of ids where spans are not exported, and ids are all that is needed of them."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider) and provider.sampler is ALWAYS_OFF:
        return provider.id_generator
    return None


def new_traceparent(name: str, *, alone: bool = False) -> str:
    """Begin a trace with a root span of this name, for one element of a batch.

    It links to the span of the batch. The only element of a batch continues the trace of the batch.
    """
    if ids := _unexported_ids():
        return _traceparent(ids.generate_trace_id(), ids.generate_span_id(), 0)
    batch = trace.get_current_span().get_span_context()
    span = _tracer.start_span(
        name,
        context=None if alone else trace.set_span_in_context(trace.INVALID_SPAN),
        links=[Link(batch)] if batch.is_valid and not alone else [],
    )
    span.end()
    return traceparent(span.get_span_context())


def _span_context(parent: str) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(parent)
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


def continued(name: str, parent: str) -> str:
    """End a span below a stored traceparent at once; returns the span as the parent of what follows.

    Where spans are not exported there is none, and what follows has the same parent.
    """
    if _unexported_ids() and _TRACEPARENT.fullmatch(parent):
        return parent
    context = _span_context(parent)
    if context is None:
        return current_traceparent()
    span = _tracer.start_span(
        name, context=trace.set_span_in_context(trace.NonRecordingSpan(context))
    )
    span.end()
    return traceparent(span.get_span_context())


@contextlib.contextmanager
def working(worker: str, count: int, parents: Sequence[str] = ()) -> Iterator[None]:
    """A span for the rows that a step of a worker has read; a step without rows has no span.

    The span is below a single parent, and linked to several.
    """
    with _below_or_linked(
        f"work {worker}", parents, trace.SpanKind.INTERNAL, {"recurring.rows": count}
    ):
        yield


@contextlib.contextmanager
def _below_or_linked(
    name: str, parents: Sequence[str], kind: trace.SpanKind, attributes: Mapping[str, str | int]
) -> Iterator[None]:
    contexts = [c for parent in parents[:_LINKS_MAX] if (c := _span_context(parent))]
    if len(parents) == 1 and contexts:
        above = trace.set_span_in_context(trace.NonRecordingSpan(contexts[0]))
        links = []
    else:
        above = trace.set_span_in_context(trace.INVALID_SPAN)
        links = [Link(context) for context in contexts]
    span = _tracer.start_span(name, context=above, links=links, kind=kind, attributes=attributes)
    with _current(span):
        yield


@contextlib.contextmanager
def _current(span: trace.Span) -> Iterator[None]:
    """Make a span the current one, and record the error that ends it."""
    with trace.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        try:
            yield
        except Exception as error:
            span.set_status(trace.StatusCode.ERROR, error_format.one_line(error))
            raise


class _LazySpan(trace.NonRecordingSpan):
    """The span of a call where spans are not exported. Few calls need its ids, made on demand."""

    def __init__(self, ids: IdGenerator, parent: str) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self._ids = ids
        self._parent = parent

    def get_span_context(self) -> SpanContext:
        """Its ids, made on the first call."""
        if self._context is trace.INVALID_SPAN_CONTEXT:
            above = _span_context(self._parent)
            trace_id = above.trace_id if above else self._ids.generate_trace_id()
            self._context = SpanContext(trace_id, self._ids.generate_span_id(), is_remote=False)
        return self._context


def answering(method: str, parent: str) -> trace.Span:
    """Begin the server's span of a call, below the caller's, and make it the task's current one."""
    if ids := _unexported_ids():
        span: trace.Span = _LazySpan(ids, parent)
    else:
        span = _call_span(method, trace.SpanKind.SERVER, _span_context(parent))
    # Never detached: gRPC answers each call in a task of its own.
    attach(trace.set_span_in_context(span))
    return span


def answered(span: trace.Span, status: str) -> None:
    """End a call's span with the status of the answer."""
    if span.is_recording():
        span.set_attribute("rpc.response.status_code", status)
        if status in FAULT_STATUSES:
            span.set_status(trace.StatusCode.ERROR)
    span.end()


@contextlib.contextmanager
def client_span(method: bytes | str) -> Iterator[trace.Span]:
    """The client's span of a call to another service; only below a recorded span."""
    span = trace.get_current_span()
    if not span.is_recording():
        yield span
        return
    # gRPC's annotation says str, and it passes bytes.
    name = method.decode() if isinstance(method, bytes) else method
    span = _call_span(name, trace.SpanKind.CLIENT, span.get_span_context())
    try:
        yield span
    finally:
        span.end()


def _call_span(method: str, kind: trace.SpanKind, above: SpanContext | None) -> trace.Span:
    return _tracer.start_span(
        method,
        context=trace.set_span_in_context(
            trace.NonRecordingSpan(above) if above else trace.INVALID_SPAN
        ),
        kind=kind,
        attributes={"rpc.system.name": "grpc", "rpc.method": method},
    )


def statement(sql: str) -> AbstractContextManager[None]:
    """A span for a statement, without its parameters.

    It has one only below a recorded span, since workers poll all the time.
    """
    return _statement_span(sql) if trace.get_current_span().is_recording() else _NO_SPAN


@contextlib.contextmanager
def _statement_span(sql: str) -> Iterator[None]:
    span = _tracer.start_span(
        sql.split(maxsplit=1)[0].upper(),
        kind=trace.SpanKind.CLIENT,
        attributes={"db.system.name": "postgresql", "db.query.text": sql},
    )
    with _current(span):
        yield


@contextlib.contextmanager
def consuming(event_type: str, traceparents: Sequence[str]) -> Iterator[None]:
    """A span for handling a batch of events: below a single event, linked to several."""
    attributes: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.destination.name": event_type,
        "messaging.batch.message_count": len(traceparents),
    }
    parents = traceparents[: _LINKS_MAX + 1]
    with _below_or_linked(f"process {event_type}", parents, trace.SpanKind.CONSUMER, attributes):
        yield
