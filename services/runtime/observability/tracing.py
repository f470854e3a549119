"""Traces, named after the OpenTelemetry conventions."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, SpanContext, TraceFlags
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext, ExecutionContext

from services.runtime.observability import error_format
from services.runtime.observability.structured_logging import FAULT_STATUSES

OTLP_ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
_LINKS_MAX = 32
TRACEPARENT_HEADER = "traceparent"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

_tracer = trace.get_tracer("recurring")


def start_tracing(service: str, *processors: SpanProcessor) -> TracerProvider:
    """Make traces; they are exported by OTLP where an endpoint is set in the environment."""
    exported = bool(os.environ.get(OTLP_ENDPOINT_VARIABLE))
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"recurring-{service}"}),
        # Where nobody looks, spans only need their ids, for logs and for whom we call.
        sampler=None if processors or exported else ALWAYS_OFF,
    )
    for processor in processors:
        provider.add_span_processor(processor)
    if exported:
        # Imported here, since its memory is only worth it where it is used.
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


def _ids_alone() -> IdGenerator | None:
    """What makes ids, where nobody looks at spans: their ids are all that is of use."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider) and provider.sampler is ALWAYS_OFF:
        return provider.id_generator
    return None


def new_traceparent(name: str, *, alone: bool = False) -> str:
    """Begin a trace with a root span of this name, for a part of work that is done as a set.

    It is linked to the work; a part that is alone in it goes on in the work's own trace.
    """
    if ids := _ids_alone():
        return _traceparent(ids.generate_trace_id(), ids.generate_span_id(), 0)
    work = trace.get_current_span().get_span_context()
    span = _tracer.start_span(
        name,
        context=None if alone else trace.set_span_in_context(trace.INVALID_SPAN),
        links=[Link(work)] if work.is_valid and not alone else [],
    )
    span.end()
    return traceparent(span.get_span_context())


def _span_context(parent: str) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(parent)
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    span = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return span if span.is_valid else None


def continued(name: str, parent: str) -> str:
    """A finished span below a stored traceparent; returns it as the parent of what comes next."""
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
    """A span for the work that a step of a worker found; a step that finds none leaves no trace.

    The parents are the traces that the work belongs to: it is below the one, or linked to the many.
    """
    with _for_all(f"work {worker}", parents, trace.SpanKind.INTERNAL, {"recurring.rows": count}):
        yield


@contextlib.contextmanager
def _for_all(
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
    """Work in a span, and say in it how the work failed."""
    with trace.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        try:
            yield
        except Exception as error:
            span.set_status(trace.StatusCode.ERROR, error_format.one_line(error))
            raise


class _Unseen(trace.NonRecordingSpan):
    """Stands for the span of a call where nobody looks at spans: most calls never ask for its ids."""

    def __init__(self, ids: IdGenerator, parent: str) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self._ids = ids
        self._parent = parent

    def get_span_context(self) -> SpanContext:
        """Its ids, which are made when they are first asked for."""
        if self._context is trace.INVALID_SPAN_CONTEXT:
            above = _span_context(self._parent)
            trace_id = above.trace_id if above else self._ids.generate_trace_id()
            self._context = SpanContext(trace_id, self._ids.generate_span_id(), is_remote=False)
        return self._context


def answering(method: str, parent: str) -> trace.Span:
    """Begin a span for a call that is answered, below its caller's; the task goes on within it."""
    if ids := _ids_alone():
        span: trace.Span = _Unseen(ids, parent)
    else:
        span = _call_span(method, trace.SpanKind.SERVER, _span_context(parent))
    # gRPC answers each call in a task of its own, with which this ends.
    attach(trace.set_span_in_context(span))
    return span


def answered(span: trace.Span, status: str) -> None:
    """End a call's span, and say in it how the call was answered."""
    if span.is_recording():
        span.set_attribute("rpc.response.status_code", status)
        if status in FAULT_STATUSES:
            span.set_status(trace.StatusCode.ERROR)
    span.end()


@contextlib.contextmanager
def asking(method: bytes | str) -> Iterator[trace.Span]:
    """A span for a call to another service, where it is below a recorded one."""
    span = trace.get_current_span()
    if not span.is_recording():
        yield span
        return
    # gRPC says str and gives bytes.
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


@contextlib.contextmanager
def statement(text: str) -> Iterator[None]:
    """A span for a statement that the engine does not see, where it is below a recorded one."""
    if not trace.get_current_span().is_recording():
        yield
        return
    span = _tracer.start_span(
        text.split(maxsplit=1)[0],
        kind=trace.SpanKind.CLIENT,
        attributes={"db.system.name": "postgresql", "db.query.text": text},
    )
    with _current(span):
        yield


def trace_statements(engine: Engine) -> None:
    """Give each statement below a recorded span a span of its own, without its parameters.

    Statements below none (a worker that polls) are too many to be worth one.
    """

    def before(
        _connection: object,
        _cursor: object,
        statement: str,
        _parameters: object,
        context: ExecutionContext,
        _many: bool,  # noqa: FBT001
    ) -> None:
        if trace.get_current_span().is_recording():
            words = statement.split(maxsplit=1)
            context.recurring_span = _tracer.start_span(  # type: ignore[attr-defined]
                f"{words[0].upper() if words else 'SQL'}",
                kind=trace.SpanKind.CLIENT,
                attributes={"db.system.name": "postgresql", "db.query.text": statement},
            )

    def after(_connection: object, _cursor: object, _statement: str, _parameters: object,
              context: ExecutionContext, _many: bool) -> None:  # noqa: FBT001  # fmt: skip
        span = context.__dict__.pop("recurring_span", None)
        if span is not None:
            span.end()

    def failed(error: ExceptionContext) -> None:
        span = getattr(error.execution_context, "recurring_span", None)
        if span is not None:
            span.set_status(trace.StatusCode.ERROR, type(error.original_exception).__name__)
            span.end()

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


@contextlib.contextmanager
def consuming(event_type: str, traceparents: Sequence[str]) -> Iterator[None]:
    """A span for handling a set of events: below the event if it is one, else linked to them."""
    attributes: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.destination.name": event_type,
        "messaging.batch.message_count": len(traceparents),
    }
    parents = traceparents[: _LINKS_MAX + 1]
    with _for_all(f"process {event_type}", parents, trace.SpanKind.CONSUMER, attributes):
        yield
