"""What a process counts and measures, named after the OpenTelemetry conventions.

Prometheus reads `rpc.server.call.duration` as `rpc_server_call_duration_seconds`. Gauges whose values
come from the database are in `gauges`.
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

# The bounds that the conventions advise for calls, and coarser ones for lateness of hours.
CALL_BOUNDS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
)  # fmt: skip
LATENESS_BOUNDS_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)

_meter = metrics.get_meter("recurring")
_zeroes: list[tuple[metrics.Counter, Mapping[str, str]]] = []


def counter(
    name: str, unit: str, description: str, series: Iterable[Mapping[str, str]] = ()
) -> metrics.Counter:
    """A counter.

    The given series start at 0: a rate does not see the first event of a series that begins with it.
    """
    made = _meter.create_counter(name, unit=unit, description=description)
    _zeroes.extend((made, attributes) for attributes in series)
    return made


def seconds(name: str, bounds: Sequence[float], description: str) -> metrics.Histogram:
    """A histogram of seconds."""
    return _meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=bounds
    )


def gauge(
    name: str, unit: str, description: str, observe: Callable[[], Iterable[Observation]]
) -> None:
    """A gauge whose values are read at each scrape, by a function that must not block."""

    def observed(_options: CallbackOptions) -> Iterable[Observation]:
        return observe()

    _meter.create_observable_gauge(name, [observed], unit=unit, description=description)


DESTINATION = "messaging.destination.name"

# `rpc.server.call.duration`, by Prometheus' own client: every call is counted, and OpenTelemetry's
# histogram takes ten times as long for it.
_call_seconds = Histogram(
    "rpc_server_call_duration_seconds",
    "Time of answering a call",
    ("rpc_method", "rpc_response_status_code"),
    buckets=CALL_BOUNDS_SECONDS,
)
# By DESTINATION, a stream, and outcome.
BATCH_SECONDS = seconds(
    "messaging.process.duration", CALL_BOUNDS_SECONDS, "Time of handling a batch of events"
)
# By DESTINATION, a type of events.
EVENTS_HANDLED = counter("messaging.client.consumed.messages", "{message}", "Events handled")
EVENTS_PUBLISHED = counter("messaging.client.sent.messages", "{message}", "Events published")
EVENTS_DEAD_LETTERED = counter("recurring.dead_letters", "{message}", "Events given up")
ANSWERS_NOT_SENT = counter(
    "recurring.answers.not_sent", "{answer}", "Answers whose callers had disconnected", [{}]
)
VALUES_UNREADABLE = counter(
    "recurring.encrypted.unreadable", "{value}", "Encrypted values that no key decrypted", [{}]
)
# By worker and outcome.
STEP_SECONDS = seconds(
    "recurring.worker.step.duration", CALL_BOUNDS_SECONDS, "Time of one step of a worker"
)
# By worker.
ROWS_PROCESSED = counter("recurring.worker.rows", "{row}", "Rows that workers processed")


def start(service: str, address: str, schema: str) -> None:
    """Serve metrics at http://<address>/metrics. Raises OSError if the address is taken."""
    version = importlib.metadata.version("recurring")
    resource = Resource.create({"service.name": f"recurring-{service}", "service.version": version})
    metrics.set_meter_provider(
        MeterProvider(
            metric_readers=[PrometheusMetricReader(scope_info_enabled=False)],
            resource=resource,
            # The Prometheus reader does not export them.
            exemplar_filter=AlwaysOffExemplarFilter(),
        )
    )
    built = Observation(1, {"service": service, "version": version, "schema": schema})
    gauge(
        "recurring.build.info", "", "The code that runs, and the schema it needs", lambda: [built]
    )
    for counter, attributes in _zeroes:
        counter.add(0, attributes)
    # OpenTelemetry's counters have no such series either.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics_server.serve(address)


def call_done(method: str, status: str, duration_seconds: float) -> None:
    """Count an answered call."""
    _answered(method, status).observe(duration_seconds)


@functools.cache
def _answered(method: str, status: str) -> Histogram:
    return _call_seconds.labels(method, status)
