"""What is due to webhook endpoints, and what came of it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from services.notify.domain.notices import MerchantId
from services.notify.domain.webhooks import (
    CANCELLED_DISABLED,
    Answer,
    EndpointId,
    EndpointKey,
    Outcome,
    WebhookDelivery,
    WebhookEndpoint,
)
from services.notify.store.webhook_endpoints import aad as secret_aad
from services.runtime.crypto.encryption import UnreadableError, decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _EndpointRow(NamedTuple):
    """An endpoint with something due."""

    merchant: MerchantId
    endpoint: EndpointId
    url: str
    create_time: datetime
    version: int
    secret: bytes
    previous_secret: bytes
    previous_secret_expire_time: datetime | None
    failing_since_time: datetime | None


_ENDPOINTS = Query(
    """
    SELECT endpoint.merchant, endpoint.endpoint, url, create_time, version, secret, previous_secret,
           previous_secret_expire_time, failing_since_time
    FROM unnest(CAST(:buckets AS int[])) AS due (bucket)
    CROSS JOIN LATERAL (
        SELECT * FROM webhook_endpoints AS known
        WHERE known.bucket = due.bucket AND disable_reason IS NULL
          AND known.merchant || '/' || known.endpoint <> ALL (CAST(:busy AS text[]))
        OFFSET 0) AS endpoint
    CROSS JOIN LATERAL (
        SELECT FROM webhook_deliveries AS queued
        WHERE queued.merchant = endpoint.merchant AND queued.endpoint = endpoint.endpoint
          AND queued.state || '' = 'PENDING' AND queued.next_attempt_time <= :now
        LIMIT 1 OFFSET 0) AS first
    LIMIT :limit
""",
    _EndpointRow,
)


_DUE = Query(
    """
    SELECT merchant, endpoint, queued.event_id, position, event_type, queued.occur_time, state,
           attempt_count, tried_count, next_attempt_time, deliver_time, failure_code,
           queued.create_time, coalesce(event.body, '') AS body
    FROM unnest(CAST(:merchant AS text[]), CAST(:endpoint AS text[])) AS asked (merchant, endpoint)
    CROSS JOIN LATERAL (
        SELECT event_id, position, event_type, occur_time, state, attempt_count, tried_count,
               next_attempt_time, deliver_time, failure_code, create_time
        FROM webhook_deliveries AS delivery
        WHERE delivery.merchant = asked.merchant AND delivery.endpoint = asked.endpoint
          AND delivery.state || '' = 'PENDING' AND delivery.next_attempt_time <= :now
        ORDER BY next_attempt_time LIMIT :limit OFFSET 0) AS queued
    LEFT JOIN LATERAL (
        SELECT body FROM webhook_events
        WHERE webhook_events.merchant = asked.merchant AND webhook_events.event_id = queued.event_id
        OFFSET 0) AS event ON true
""",
    WebhookDelivery,
)

# Of an endpoint that was disabled or deleted at the moment in which its event came.
_CANCEL_STRAY = Command("""
    UPDATE webhook_deliveries AS delivery SET state = 'CANCELLED', failure_code = :failure_code
    FROM (
        SELECT merchant, endpoint, event_id
        FROM unnest(CAST(:buckets AS int[])) AS due (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, endpoint, event_id FROM webhook_deliveries AS queued
            WHERE queued.bucket = due.bucket AND queued.state = 'PENDING'
              AND queued.next_attempt_time <= :now
              AND NOT EXISTS (
                  SELECT FROM webhook_endpoints AS known
                  WHERE known.merchant = queued.merchant AND known.endpoint = queued.endpoint
                    AND known.disable_reason IS NULL)
            ORDER BY queued.next_attempt_time LIMIT :limit OFFSET 0) AS stray
    ) AS stray
    WHERE delivery.merchant = stray.merchant AND delivery.endpoint = stray.endpoint
      AND delivery.event_id = stray.event_id AND delivery.state || '' = 'PENDING'
""")

# What has changed since it was read is left: it was replayed, cancelled, or sent by another replica.
_FINISH = Command("""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:merchant AS text[]), CAST(:endpoint AS text[]), CAST(:event_id AS uuid[]),
            CAST(:attempt_count AS int[]), CAST(:state AS text[]),
            CAST(:next_attempt_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
            CAST(:failure_code AS text[]), CAST(:start_time AS timestamptz[]),
            CAST(:status AS int[]), CAST(:duration AS interval[]), CAST(:answer AS bytea[]),
            CAST(:attempt_failure_code AS text[]))
          AS sent (merchant, endpoint, event_id, attempt_count, state, next_attempt_time, deliver_time,
                   failure_code, start_time, status, duration, answer, attempt_failure_code)
    ), ended AS (
        UPDATE webhook_deliveries AS delivery
        SET state = given.state, attempt_count = delivery.attempt_count + 1,
            tried_count = delivery.tried_count + 1, next_attempt_time = given.next_attempt_time,
            deliver_time = given.deliver_time, failure_code = given.failure_code
        FROM given
        WHERE delivery.merchant = given.merchant AND delivery.endpoint = given.endpoint
          AND delivery.event_id = given.event_id AND delivery.state || '' = 'PENDING'
          AND delivery.attempt_count = given.attempt_count
        RETURNING delivery.merchant, delivery.endpoint, delivery.event_id, delivery.attempt_count
    )
    INSERT INTO webhook_attempts
        (merchant, endpoint, event_id, number, start_time, status, duration, answer, failure_code)
    SELECT merchant, endpoint, event_id, ended.attempt_count, start_time, status, duration, answer,
           attempt_failure_code
    FROM ended JOIN given USING (merchant, endpoint, event_id)
    ON CONFLICT (merchant, endpoint, event_id, number) DO NOTHING
""")


class _AttemptRow(NamedTuple):
    event_id: UUID
    number: int
    start_time: datetime
    status: int
    duration: timedelta
    answer: bytes
    failure_code: str


_ATTEMPTS = Query(
    """
    SELECT event_id, number, start_time, status, duration, answer, failure_code
    FROM unnest(CAST(:event_id AS uuid[])) AS asked (event_id)
    CROSS JOIN LATERAL (
        SELECT number, start_time, status, duration, answer, failure_code
        FROM webhook_attempts AS attempt
        WHERE attempt.merchant = :merchant AND attempt.endpoint = :endpoint
          AND attempt.event_id = asked.event_id
        ORDER BY number DESC LIMIT :limit OFFSET 0) AS newest
    ORDER BY event_id, number
""",
    _AttemptRow,
)


class Sent(NamedTuple):
    """An attempt, and what becomes of its delivery."""

    delivery: WebhookDelivery
    start_time: datetime
    answer: Answer
    outcome: Outcome


class Attempt(NamedTuple):
    """A request to an endpoint, as it is shown."""

    start_time: datetime
    answer: Answer


def aad(key: EndpointKey, event_id: UUID, number: int) -> tuple[str, ...]:
    """What the answer of an attempt is bound to."""
    return "webhook_attempts", "answer", *key, str(event_id), str(number)


async def endpoints(
    tx: Connection,
    buckets: Sequence[int],
    busy: Collection[EndpointKey],
    now: datetime,
    limit: int,
) -> list[WebhookEndpoint]:
    """The endpoints with something due that are not busy; without a secret, if it does not decrypt."""
    names = [f"{key.merchant}/{key.endpoint}" for key in busy]
    rows = await _ENDPOINTS.all(tx, buckets=list(buckets), busy=names, now=now, limit=limit)
    return [_endpoint(tx, row) for row in rows]


def _endpoint(tx: Connection, row: _EndpointRow) -> WebhookEndpoint:
    key = EndpointKey(row.merchant, row.endpoint)
    try:
        secret = decrypt(tx, row.secret, *secret_aad(key, "secret"))
        previous = decrypt(tx, row.previous_secret, *secret_aad(key, "previous_secret"))
    except UnreadableError:
        secret = previous = ""
    return WebhookEndpoint(
        *key,
        url=row.url,
        event_types=(),
        description="",
        disable_reason=None,
        disable_time=None,
        previous_secret_expire_time=row.previous_secret_expire_time,
        failing_since_time=row.failing_since_time,
        create_time=row.create_time,
        version=row.version,
        secret=secret,
        previous_secret=previous,
    )


async def due(
    tx: Connection, keys: Collection[EndpointKey], now: datetime, limit: int
) -> dict[EndpointKey, list[WebhookDelivery]]:
    """What is due to endpoints: so many at most for each, the first by time first."""
    found: dict[EndpointKey, list[WebhookDelivery]] = {key: [] for key in keys}
    for delivery in await _DUE.all_for(tx, keys, now=now, limit=limit):
        found[delivery.endpoint_key].append(delivery)
    return found


async def cancel_stray(tx: Connection, buckets: Sequence[int], now: datetime, limit: int) -> int:
    """Cancel what is due to endpoints that get nothing any more."""
    return await _CANCEL_STRAY.run(
        tx, buckets=list(buckets), now=now, limit=limit, failure_code=CANCELLED_DISABLED
    )


async def finish(tx: Connection, sent: Collection[Sent]) -> int:
    """Store attempts and what becomes of their deliveries; returns how many were stored."""
    return await _FINISH.run_for(
        tx,
        [one.delivery for one in sent],
        state=[one.outcome.state for one in sent],
        next_attempt_time=[one.outcome.next_attempt_time for one in sent],
        deliver_time=[one.outcome.deliver_time for one in sent],
        failure_code=[one.outcome.failure_code for one in sent],
        start_time=[one.start_time for one in sent],
        status=[one.answer.status for one in sent],
        duration=[one.answer.duration for one in sent],
        answer=[
            encrypt(
                tx,
                one.answer.text,
                *aad(
                    one.delivery.endpoint_key,
                    one.delivery.event_id,
                    one.delivery.attempt_count + 1,
                ),
            )
            for one in sent
        ],
        attempt_failure_code=[one.answer.why for one in sent],
    )


async def attempts(
    tx: Connection, key: EndpointKey, event_ids: Collection[UUID], limit: int
) -> dict[UUID, list[Attempt]]:
    """The last attempts at deliveries, the oldest first; an answer that does not decrypt is empty."""
    rows = await _ATTEMPTS.all(tx, **key._asdict(), event_id=list(event_ids), limit=limit)
    return {
        event_id: [_attempt(tx, key, row) for row in of_event]
        for event_id, of_event in groupby(rows, lambda row: row.event_id)
    }


def _attempt(tx: Connection, key: EndpointKey, row: _AttemptRow) -> Attempt:
    try:
        text = decrypt(tx, row.answer, *aad(key, row.event_id, row.number))
    except UnreadableError:
        text = ""
    return Attempt(row.start_time, Answer(row.status, row.duration, text, row.failure_code))
