"""Events that platforms want, and their deliveries to webhook endpoints."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.notify.domain.notices import MerchantId
from services.notify.domain.webhooks import (
    CANCELLED_QUEUE_FULL,
    QUEUE_MAX_EVENTS,
    REPLAY_MAX_EVENTS,
    EndpointKey,
    WebhookDelivery,
    WebhookState,
)
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar

# Which of these merchants want events of a type.
_WANTING: Query[MerchantId] = Query(
    """
    SELECT merchant FROM unnest(CAST(:merchant AS text[])) AS asked (merchant)
    WHERE EXISTS (
        SELECT FROM webhook_endpoints AS endpoint
        WHERE endpoint.merchant = asked.merchant
          AND (endpoint.event_types = '{}' OR :event_type = ANY (endpoint.event_types)))
""",
    scalar,
)

# An event that is known is not sent again. What an endpoint has too much of is not queued.
_KEEP = Command("""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:merchant AS text[]), CAST(:event_id AS uuid[]), CAST(:occur_time AS timestamptz[]),
            CAST(:body AS bytea[])) AS event (merchant, event_id, occur_time, body)
    ), wanting AS MATERIALIZED (
        SELECT endpoint.merchant, endpoint.endpoint, disable_reason, keep_since_time, send_since_time,
               queued_count
        FROM (SELECT DISTINCT merchant FROM given) AS asked
        CROSS JOIN LATERAL (
            SELECT * FROM webhook_endpoints AS known
            WHERE known.merchant = asked.merchant
              AND (known.event_types = '{}' OR :event_type = ANY (known.event_types))
            OFFSET 0) AS endpoint
        CROSS JOIN LATERAL (
            SELECT count(*) AS queued_count FROM (
                SELECT FROM webhook_deliveries AS queued
                WHERE queued.merchant = endpoint.merchant AND queued.endpoint = endpoint.endpoint
                  AND queued.state || '' = 'PENDING'
                LIMIT :queue_max) AS counted
            OFFSET 0) AS queue
    ), kept AS (
        INSERT INTO webhook_events (merchant, event_id, type, occur_time, body, create_time)
        SELECT merchant, event_id, :event_type, occur_time, body, :now
        FROM given
        WHERE EXISTS (SELECT FROM wanting WHERE wanting.merchant = given.merchant
                      AND given.occur_time >= wanting.keep_since_time)
        ON CONFLICT (merchant, event_id) DO NOTHING
        RETURNING merchant, event_id, occur_time
    )
    INSERT INTO webhook_deliveries
        (merchant, endpoint, event_id, event_type, occur_time, create_time, state, next_attempt_time,
         failure_code)
    SELECT kept.merchant, wanting.endpoint, event_id, :event_type, occur_time, :now,
           CASE WHEN queued_count >= :queue_max THEN 'CANCELLED' ELSE 'PENDING' END, :now,
           CASE WHEN queued_count >= :queue_max THEN :queue_full ELSE '' END
    FROM kept JOIN wanting ON wanting.merchant = kept.merchant
    WHERE wanting.disable_reason IS NULL AND kept.occur_time >= wanting.send_since_time
    ON CONFLICT (merchant, endpoint, event_id) DO NOTHING
""")

_DELIVER = Query(
    """
    INSERT INTO webhook_deliveries
        (merchant, endpoint, event_id, event_type, occur_time, create_time, state, next_attempt_time)
    VALUES (:merchant, :endpoint, :event_id, :event_type, :now, :now, 'PENDING', :now)
    RETURNING merchant, endpoint, event_id, position, event_type, occur_time, state, attempt_count,
              tried_count, next_attempt_time, deliver_time, failure_code, create_time
""",
    WebhookDelivery,
)

_STORE_EVENT = Command("""
    INSERT INTO webhook_events (merchant, event_id, type, occur_time, body, create_time)
    VALUES (:merchant, :event_id, :event_type, :now, :body, :now)
    ON CONFLICT (merchant, event_id) DO NOTHING
""")

_CANCEL = Command("""
    UPDATE webhook_deliveries SET state = 'CANCELLED', failure_code = :failure_code
    WHERE merchant = :merchant AND endpoint = :endpoint AND state || '' = 'PENDING'
""")

_PAGE = Query(
    """
    SELECT merchant, endpoint, event_id, position, event_type, occur_time, state, attempt_count,
           tried_count, next_attempt_time, deliver_time, failure_code, create_time
    FROM webhook_deliveries
    WHERE merchant = :merchant AND endpoint = :endpoint AND position < :before
      AND (:state = '' OR state = :state)
    ORDER BY position DESC LIMIT :limit
""",
    WebhookDelivery,
)

# Whether an event that is kept waits to be sent.
_IS_WAITING: Query[bool] = Query(
    """
    SELECT EXISTS (
        SELECT FROM webhook_deliveries AS delivery
        WHERE delivery.merchant = event.merchant AND delivery.endpoint = :endpoint
          AND delivery.event_id = event.event_id AND delivery.state || '' = 'PENDING') AS is_waiting
    FROM webhook_events AS event
    WHERE merchant = :merchant AND event_id = :event_id AND create_time >= :kept_since
""",
    scalar,
)

# One more than are sent again shows that they are too many.
_BETWEEN: Query[UUID] = Query(
    """
    SELECT event.event_id
    FROM webhook_events AS event LEFT JOIN webhook_deliveries AS delivery
      ON delivery.merchant = event.merchant AND delivery.event_id = event.event_id
      AND delivery.endpoint = :endpoint
    WHERE event.merchant = :merchant
      AND event.occur_time >= :start_time AND event.occur_time < :end_time
      AND event.create_time >= :kept_since AND event.type <> :ping_type
      AND (CAST(:event_types AS text[]) = '{}' OR event.type = ANY (CAST(:event_types AS text[])))
      AND delivery.state IS DISTINCT FROM 'PENDING'
      AND (NOT :undelivered_only OR delivery.state IS DISTINCT FROM 'DELIVERED')
    ORDER BY event.occur_time LIMIT :limit
""",
    scalar,
)

_REPLAY = Command("""
    INSERT INTO webhook_deliveries AS known
        (merchant, endpoint, event_id, event_type, occur_time, create_time, state, next_attempt_time)
    SELECT :merchant, :endpoint, event_id, type, occur_time, :now, 'PENDING', :now
    FROM unnest(CAST(:event_id AS uuid[])) AS asked (event_id)
    CROSS JOIN LATERAL (
        SELECT type, occur_time FROM webhook_events
        WHERE webhook_events.merchant = :merchant AND webhook_events.event_id = asked.event_id
        OFFSET 0) AS event
    ON CONFLICT (merchant, endpoint, event_id) DO UPDATE
        SET state = 'PENDING', tried_count = 0, next_attempt_time = EXCLUDED.next_attempt_time,
            deliver_time = NULL, failure_code = ''
        WHERE known.state <> 'PENDING'
""")

_PURGE_DELIVERIES = Command("""
    DELETE FROM webhook_deliveries WHERE (merchant, endpoint, event_id) IN (
        SELECT merchant, endpoint, event_id FROM webhook_deliveries
        WHERE create_time < :before AND state <> 'PENDING' ORDER BY create_time LIMIT :limit)
""")
_PURGE_EVENTS = Command("""
    DELETE FROM webhook_events WHERE (merchant, event_id) IN (
        SELECT merchant, event_id FROM webhook_events
        WHERE create_time < :before ORDER BY create_time LIMIT :limit)
""")


class KeptEvent(NamedTuple):
    """An event in the form in which it is sent."""

    merchant: MerchantId
    event_id: UUID
    occur_time: datetime
    body: bytes


class Span(NamedTuple):
    """Events to send again."""

    start_time: datetime
    end_time: datetime
    undelivered_only: bool


async def wanting(
    tx: Connection, merchants: Collection[MerchantId], event_type: str
) -> frozenset[MerchantId]:
    """Those merchants who have an endpoint for events of a type."""
    return frozenset(await _WANTING.all(tx, merchant=sorted(merchants), event_type=event_type))


async def keep(
    tx: Connection, events: Collection[KeptEvent], event_type: str, now: datetime
) -> None:
    """Keep events of one type, and queue each once for every endpoint that wants it."""
    await _KEEP.run_for(
        tx,
        events,
        event_type=event_type,
        now=now,
        queue_max=QUEUE_MAX_EVENTS,
        queue_full=CANCELLED_QUEUE_FULL,
    )


async def put(
    tx: Connection, key: EndpointKey, event_id: UUID, event_type: str, body: bytes, now: datetime
) -> WebhookDelivery:
    """Queue an event of its own for one endpoint."""
    fields = {"event_id": event_id, "event_type": event_type, "now": now}
    await _STORE_EVENT.run(tx, merchant=key.merchant, body=body, **fields)
    return await _DELIVER.one(tx, **key._asdict(), **fields)


async def cancel(tx: Connection, key: EndpointKey, failure_code: str) -> int:
    """Send nothing of what is queued for an endpoint; returns how much that is."""
    return await _CANCEL.run(tx, **key._asdict(), failure_code=failure_code)


async def page(
    tx: Connection, key: EndpointKey, state: WebhookState | None, before: UUID, limit: int
) -> list[WebhookDelivery]:
    """The deliveries to an endpoint, the newest first, before a position."""
    return await _PAGE.all(tx, **key._asdict(), state=state or "", before=before, limit=limit)


async def is_waiting(
    tx: Connection, key: EndpointKey, event_id: UUID, kept_since: datetime
) -> bool | None:
    """Whether an event waits to be sent to an endpoint; None: it is not kept any more."""
    return await _IS_WAITING.one_or_none(
        tx, **key._asdict(), event_id=event_id, kept_since=kept_since
    )


async def between(
    tx: Connection,
    key: EndpointKey,
    event_types: Sequence[str],
    span: Span,
    ping_type: str,
    kept_since: datetime,
) -> list[UUID]:
    """The events of a time that an endpoint wants and is not being sent; one too many at most."""
    return await _BETWEEN.all(
        tx,
        **key._asdict(),
        **span._asdict(),
        event_types=list(event_types),
        ping_type=ping_type,
        kept_since=kept_since,
        limit=REPLAY_MAX_EVENTS + 1,
    )


async def replay(tx: Connection, key: EndpointKey, event_ids: Sequence[UUID], now: datetime) -> int:
    """Queue events again, or for the first time; returns how many."""
    return await _REPLAY.run(tx, **key._asdict(), event_id=event_ids, now=now)


async def purge(tx: Connection, now: datetime, retention: timedelta, limit: int) -> int:
    """Delete deliveries and events after their retention; returns how many rows."""
    deleted = await _PURGE_DELIVERIES.run(tx, before=now - retention, limit=limit)
    # What was replayed on the last day is tried for three more.
    return deleted + await _PURGE_EVENTS.run(tx, before=now - retention * 1.2, limit=limit)
