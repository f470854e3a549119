"""What a process counts and measures, named after the OpenTelemetry conventions.

Served for Prometheus, which reads `rpc.server.call.duration` in seconds as
`rpc_server_call_duration_seconds`. Gauges that ask the database are in `gauges`.
"""

import functools
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import Histogram, disable_created_metrics

from services.runtime.observability import metrics_server

# What the conventions advise for calls, and coarser ones for what may be late by hours.
CALL_BOUNDS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
)  # fmt: skip
LATENESS_BOUNDS_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)

_meter = metrics.get_meter("recurring")


_zeroes: list[tuple[metrics.Counter, Mapping[str, str]]] = []


def counter(
    name: str, unit: str, description: str, series: Iterable[Mapping[str, str]] = ()
) -> metrics.Counter:
    """A counter of a service's own.

    The series named here are shown from the start, with 0: a rate does not see the first event of a
    series that begins with it.
    """
    made = _meter.create_counter(name, unit=unit, description=description)
    _zeroes.extend((made, attributes) for attributes in series)
    return made


def seconds(name: str, bounds: Sequence[float], description: str) -> metrics.Histogram:
    """A histogram of seconds of a service's own."""
    return _meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=bounds
    )


def gauge(
    name: str, unit: str, description: str, observe: Callable[[], Iterable[Observation]]
) -> None:
    """A gauge that is asked for its values whenever somebody looks; it must not wait for anything."""

    def observed(_options: CallbackOptions) -> Iterable[Observation]:
        return observe()

    _meter.create_observable_gauge(name, [observed], unit=unit, description=description)


# `rpc.server.call.duration`, by Prometheus' own client: each call is counted, and OpenTelemetry's
# histogram takes ten times as long for it.
_call_seconds = Histogram(
    "rpc_server_call_duration_seconds",
    "Time of answering a call",
    ("rpc_method", "rpc_response_status_code"),
    buckets=CALL_BOUNDS_SECONDS,
)
_process_seconds = seconds(
    "messaging.process.duration", CALL_BOUNDS_SECONDS, "Time of handling a batch of events"
)
_consumed = counter("messaging.client.consumed.messages", "{message}", "Events handled")
_sent = counter("messaging.client.sent.messages", "{message}", "Events published")
_not_sent = counter(
    "recurring.answers.not_sent", "{answer}", "Answers whose callers had gone already", [{}]
)
_unreadable = counter(
    "recurring.encrypted.unreadable",
    "{value}",
    "Encrypted values that did not open when somebody looked",
    [{}],
)
_dead_lettered = counter("recurring.dead_letters", "{message}", "Events given up")
_step_seconds = seconds(
    "recurring.worker.step.duration", CALL_BOUNDS_SECONDS, "Time of one step of a worker"
)
_worked = counter("recurring.worker.rows", "{row}", "Rows that workers processed")


def start(service: str, address: str, schema: str) -> None:
    """Serve metrics at http://<address>/metrics. Raises OSError if the address is taken."""
    version = importlib.metadata.version("recurring")
    resource = Resource.create({"service.name": f"recurring-{service}", "service.version": version})
    metrics.set_meter_provider(
        MeterProvider(
            metric_readers=[PrometheusMetricReader(scope_info_enabled=False)],
            resource=resource,
            # Prometheus' reader has no place for them.
            exemplar_filter=AlwaysOffExemplarFilter(),
        )
    )
    built = Observation(1, {"service": service, "version": version, "schema": schema})
    gauge(
        "recurring.build.info", "", "The code that runs, and the schema it needs", lambda: [built]
    )
    for each, attributes in _zeroes:
        each.add(0, attributes)
    # OpenTelemetry's have none either.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics_server.serve(address)


def call_done(method: str, status: str, duration_seconds: float) -> None:
    """Count one answered call."""
    _answered(method, status).observe(duration_seconds)


@functools.cache
def _answered(method: str, status: str) -> Histogram:
    return _call_seconds.labels(method, status)


def events_processed(stream: str, outcome: str, duration_seconds: float) -> None:
    """Count one batch of events from a stream; the outcome of a good one is `ok`."""
    _process_seconds.record(
        duration_seconds, {"messaging.destination.name": stream, "outcome": outcome}
    )


def events_handled(event_type: str, count: int) -> None:
    """Count events of a type that were handled."""
    _consumed.add(count, {"messaging.destination.name": event_type})


def events_sent(event_type: str, count: int) -> None:
    """Count events of a type that were published."""
    _sent.add(count, {"messaging.destination.name": event_type})


def event_dead_lettered(event_type: str) -> None:
    """Count an event that was given up."""
    _dead_lettered.add(1, {"messaging.destination.name": event_type})


def answer_not_sent() -> None:
    """Count an answer whose caller had gone already."""
    _not_sent.add(1)


def unreadable() -> None:
    """Count an encrypted value that did not open."""
    _unreadable.add(1)


def step_done(worker: str, outcome: str, worked: int, duration_seconds: float) -> None:
    """Count one step of a worker."""
    _step_seconds.record(duration_seconds, {"worker": worker, "outcome": outcome})
    if worked:
        _worked.add(worked, {"worker": worker})
