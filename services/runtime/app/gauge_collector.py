"""Reads the gauges of a service at an interval, on every replica."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from nats.errors import Error as NatsError
from opentelemetry.metrics import Observation

from services.runtime.db.pool import Database
from services.runtime.db.statements import compiled
from services.runtime.messaging.broker import Broker
from services.runtime.observability import metrics
from services.runtime.observability.gauges import Gauge, GaugeQuery
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step

GAUGE_INTERVAL_SECONDS = 5.0
# Operators need not know whether 10 000 or 10 million rows wait: counting stops here.
COUNT_MAX_ROWS = 10_000
RUNTIME = GaugeQuery(
    """
        WITH waiting AS MATERIALIZED (
            SELECT event_count, occur_time FROM outbox, outbox_cursor AS cursor
            WHERE (outbox.transaction_id, outbox.position)
                > (cursor.transaction_id, cursor.position)
            ORDER BY outbox.transaction_id, outbox.position LIMIT :limit)
        SELECT (SELECT coalesce(sum(event_count), 0) FROM waiting) AS unpublished,
               coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                   SELECT occur_time FROM waiting LIMIT 1)), 0), 0) AS outbox_age,
               (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('outbox'))
                   AS outbox_bytes,
               (SELECT count(*) FROM (
                   SELECT FROM failed_events WHERE dead_letter_time IS NOT NULL
                   ORDER BY dead_letter_time LIMIT :limit
               ) AS counted) AS dead_letters,
               (SELECT count(*) FROM buckets WHERE bucket NOT IN (
                   SELECT bucket FROM bucket_leases JOIN lease_holders USING (holder)
                   WHERE expire_time >= now())) AS unleased
    """,
    {
        "unpublished": Gauge(
            "recurring.outbox.unpublished", "{message}", "Events that wait to be published"
        ),
        "outbox_age": Gauge(
            "recurring.outbox.oldest.age", "s", "Age of the oldest event that waits to be published"
        ),
        "outbox_bytes": Gauge("recurring.outbox.size", "By", "Size of the outbox with its indexes"),
        "dead_letters": Gauge(
            "recurring.dead_letters.kept", "{message}", "Events given up and not replayed"
        ),
        "unleased": Gauge(
            "recurring.buckets.unleased", "{bucket}", "Buckets of due work that no replica leases"
        ),
    },
)
PENDING = Gauge(
    "recurring.consumer.pending", "{message}", "Events of a stream that were not delivered yet"
)
UNACKNOWLEDGED = Gauge(
    "recurring.consumer.unacknowledged", "{message}", "Events delivered and not handled yet"
)


Reading = list[tuple[Gauge, Mapping[str, str], float]]


class GaugeCollector:
    """Keeps the last values of a service's gauges; with a broker, those of its consumers as well."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        gauge_queries: Sequence[GaugeQuery],
        broker: Broker | None = None,
        durable: str = "",
        streams: Iterable[str] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._gauge_queries = (RUNTIME, *gauge_queries)
        # Not as a Query: the columns, and so the row's type, are those of the gauges.
        self._compiled = [(compiled(query.sql), query) for query in self._gauge_queries]
        self._broker, self._durable, self._streams = broker, durable, tuple(streams)
        self._values: Mapping[str, list[Observation]] = {}

    def export(self) -> None:
        """Export the last values as metrics. A gauge that could not be read has none."""
        gauges = [gauge for query in self._gauge_queries for gauge in query.gauges.values()]
        for gauge in {gauge.name: gauge for gauge in (*gauges, PENDING, UNACKNOWLEDGED)}.values():
            metrics.gauge(
                gauge.name,
                gauge.unit,
                gauge.description,
                lambda name=gauge.name: self._values.get(name, ()),  # type: ignore[misc]
            )

    async def step(self) -> Step:
        """Read the values again."""
        values = defaultdict(list)
        try:
            for gauge, labels, value in await self.read():
                values[gauge.name].append(Observation(value, dict(labels)))
        finally:
            self._values = values
        return Step()

    async def read(self) -> Reading:
        """The present values."""
        parameters = {"now": self._clock.now(), "limit": COUNT_MAX_ROWS}
        reading: Reading = []
        async with self._database.check() as connection:
            for (sql, names), query in self._compiled:
                [row] = await connection.fetch(sql, *(parameters[name] for name in names))
                reading += [
                    (gauge, gauge.labels, float(row[column]))
                    for column, gauge in query.gauges.items()
                ]
        return reading + await self._read_consumers()

    async def _read_consumers(self) -> Reading:
        reading: Reading = []
        if self._broker is None:
            return reading
        for stream in self._streams:
            try:
                info = await self._broker.consumer_info(stream, self._durable)
            except (NatsError, TimeoutError):
                # The broker is away, or the stream does not exist yet.
                continue
            labels = {"stream": stream}
            reading.append((PENDING, labels, float(info.num_pending or 0)))
            reading.append((UNACKNOWLEDGED, labels, float(info.num_ack_pending or 0)))
        return reading
