"""Webhooks: stored once each, handled later, and forgotten long after that."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import ChargeId, CustomerId, MerchantId
from services.payments.domain.webhooks import WebhookEvent, WebhookKey, WebhookState, kept_until
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class OpenEvent(NamedTuple):
    """An event that people have to look at."""

    provider: str
    event: str
    type: str
    object: str
    state: WebhookState
    receive_time: datetime
    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId


_INSERT = Query(
    """
    INSERT INTO webhook_events (provider, event, type, subject, object, object_state, moved, merchant,
                                customer, charge, idempotency_key, refund, receive_time)
    SELECT *, CAST(:now AS timestamptz) FROM unnest(
        CAST(:provider AS text[]), CAST(:event AS text[]), CAST(:type AS text[]),
        CAST(:subject AS text[]), CAST(:object AS text[]), CAST(:object_state AS text[]),
        CAST(:moved AS boolean[]), CAST(:merchant AS text[]), CAST(:customer AS text[]),
        CAST(:charge AS text[]), CAST(:idempotency_key AS text[]), CAST(:refund AS text[]))
    ON CONFLICT (event, provider) DO NOTHING
    RETURNING provider, event
""",
    WebhookKey,
)

_DUE = Query(
    """
    SELECT provider, event, type, subject, object, object_state, moved, merchant, customer, charge,
           idempotency_key, refund
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT * FROM webhook_events
            WHERE state = 'RECEIVED' AND bucket = leased.bucket AND receive_time <= :now
              AND provider || '/' || event <> ALL(CAST(:left_out AS text[]))
            ORDER BY receive_time LIMIT :limit) AS due
        LIMIT :limit) AS due
""",
    WebhookEvent,
)

_FINISH = Command("""
    UPDATE webhook_events SET state = done.state, forget_time = done.forget_time
    FROM unnest(CAST(:event AS text[]), CAST(:provider AS text[]), CAST(:state AS text[]),
                CAST(:forget_time AS timestamptz[])) AS done (event, provider, state, forget_time)
    WHERE webhook_events.event = done.event AND webhook_events.provider = done.provider
""")

_FORGET = Command("""
    DELETE FROM webhook_events
    USING (
        SELECT event, provider FROM webhook_events WHERE forget_time <= :now
        ORDER BY forget_time LIMIT :limit) AS old
    WHERE webhook_events.event = old.event AND webhook_events.provider = old.provider
""")

_OPEN = Query(
    """
    SELECT provider, event, type, object, state, receive_time, merchant, customer, charge
    FROM (SELECT * FROM webhook_events WHERE state = 'CONTRADICTED'
          ORDER BY receive_time DESC LIMIT :limit) AS contradicted
    UNION ALL
    SELECT provider, event, type, object, state, receive_time, merchant, customer, charge
    FROM (SELECT * FROM webhook_events WHERE state = 'UNKNOWN_OBJECT'
          ORDER BY receive_time DESC LIMIT :limit) AS unknown
    LIMIT :limit
""",
    OpenEvent,
)


async def insert(
    tx: Connection, events: Collection[WebhookEvent], now: datetime
) -> set[WebhookKey]:
    """Store events; returns which had not been stored before."""
    return set(await _INSERT.all_for(tx, events, now=now))


async def due(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[WebhookKey],
) -> list[WebhookEvent]:
    """A batch of the events that nobody has handled, those that came first, but for some."""
    keys = ["/".join(key) for key in left_out]
    return await _DUE.all(tx, buckets=buckets, now=now, limit=limit, left_out=keys)


async def finish(
    tx: Connection, handled: Mapping[WebhookEvent, WebhookState], now: datetime
) -> None:
    """Write what became of events."""
    states = list(handled.values())
    await _FINISH.run_for(
        tx, handled, state=states, forget_time=[kept_until(state, now) for state in states]
    )


async def forget(tx: Connection, now: datetime, limit: int) -> None:
    """Delete a batch of events that are not needed any more."""
    await _FORGET.run(tx, now=now, limit=limit)


async def open_events(tx: Connection, limit: int) -> list[OpenEvent]:
    """The events that people have to look at, those that contradict the books first."""
    return await _OPEN.all(tx, limit=limit)
