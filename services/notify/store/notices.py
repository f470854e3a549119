"""Notices and their deliveries."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from services.notify.domain.notices import (
    FAILURE_UNREADABLE,
    BillingMode,
    Channel,
    CustomerKey,
    Delivery,
    Notice,
    NoticeKind,
    Progress,
    Promise,
)
from services.notify.domain.transitions import DeliveryState
from services.notify.store import codes, contacts
from services.runtime.crypto.encryption import UnreadableError, decrypt, encrypt
from services.runtime.db.pool import Connection, columns

# --- posting -----------------------------------------------------------------------------------

_INSERT_NOTICES = text("""
    INSERT INTO notices (merchant, customer, notice, kind, subject_resource, promised_amount_minor,
                         promised_currency, charge_not_before, notice_lead, billing_mode,
                         traceparent, occur_time, create_time, outcome)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:kind AS text[]), CAST(:subject_resource AS text[]),
        CAST(:promised_amount_minor AS bigint[]), CAST(:promised_currency AS text[]),
        CAST(:charge_not_before AS timestamptz[]), CAST(:notice_lead AS interval[]),
        CAST(:billing_mode AS text[]), CAST(:traceparent AS text[]),
        CAST(:occur_time AS timestamptz[]), CAST(:create_time AS timestamptz[]),
        CAST(:outcome AS text[]))
    -- Facts that read the same share a notice, which is as true as the last of them.
    ON CONFLICT (customer, merchant, notice) DO UPDATE SET occur_time = EXCLUDED.occur_time
        WHERE notices.occur_time < EXCLUDED.occur_time
    RETURNING merchant, customer, notice, xmax = 0 AS is_new
""")

_INSERT_DELIVERIES = text("""
    INSERT INTO deliveries (merchant, customer, notice, channel, main, state, subject, text,
                            secret_text, next_attempt_time, give_up_time, failure_code, expire_time,
                            own_address)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:main AS boolean[]), CAST(:state AS text[]),
        CAST(:subject AS bytea[]), CAST(:text AS bytea[]), CAST(:secret_text AS bytea[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:give_up_time AS timestamptz[]),
        CAST(:failure_code AS text[]), CAST(:expire_time AS timestamptz[]),
        CAST(:own_address AS bytea[]))
    ON CONFLICT (customer, merchant, notice, channel) DO NOTHING
""")


async def insert(tx: Connection, notices: Sequence[Notice]) -> list[Notice]:
    """Store notices with their deliveries; returns those that were not there yet."""
    if not notices:
        return []
    found = await tx.execute(_INSERT_NOTICES, _notice_columns(notices))
    fresh = {(CustomerKey(row.merchant, row.customer), row.notice) for row in found if row.is_new}
    new = [notice for notice in notices if (notice.key, notice.notice) in fresh]
    rows = [(notice, delivery) for notice in new for delivery in notice.deliveries]
    if rows:
        await tx.execute(_INSERT_DELIVERIES, _delivery_columns(tx, rows))
    return new


# Whether a customer was told stays known, and what they were told does not.
_ERASE_TEXTS = text("""
    UPDATE deliveries SET subject = '', text = '', secret_text = NULL, own_address = NULL
    WHERE customer = :customer AND merchant = :merchant
      AND (subject <> '' OR text <> '' OR secret_text IS NOT NULL OR own_address IS NOT NULL)
""")


async def erase_texts(tx: Connection, key: CustomerKey) -> None:
    """Erase what a customer's notices say."""
    await tx.execute(_ERASE_TEXTS, _key(key))


# --- reading -----------------------------------------------------------------------------------

_ONE = text("""
    SELECT * FROM notices
    WHERE customer = :customer AND merchant = :merchant AND notice = :notice
""")

_OF_CUSTOMER = text("""
    SELECT * FROM notices
    WHERE customer = :customer AND merchant = :merchant AND position > :after
      AND (:subject_resource = '' OR subject_resource = :subject_resource)
    ORDER BY position LIMIT :limit
""")

# The secret text stays where it is: nobody but the delivery loop reads it.
_DELIVERIES = text("""
    SELECT notice, channel, main, state, subject, text, NULL AS secret_text, next_attempt_time,
           give_up_time, attempt_count, deliver_time, failure_code, expire_time
    FROM deliveries
    WHERE customer = :customer AND merchant = :merchant
      AND notice = ANY(CAST(:notices AS text[]))
    ORDER BY main DESC
""")


async def one(tx: Connection, key: CustomerKey, notice: str) -> Notice | None:
    """A notice with its deliveries."""
    row = (await tx.execute(_ONE, {**_key(key), "notice": notice})).one_or_none()
    if row is None:
        return None
    deliveries = await _deliveries(tx, key, [notice])
    return _notice(row, deliveries[notice])


async def of_customer(
    tx: Connection, key: CustomerKey, subject_resource: str, after: uuid.UUID, limit: int
) -> list[tuple[uuid.UUID, Notice]]:
    """A customer's notices with their positions, the oldest first, after a position.

    Only those about the subject resource, unless that is empty.
    """
    found = await tx.execute(
        _OF_CUSTOMER,
        {**_key(key), "subject_resource": subject_resource, "after": after, "limit": limit},
    )
    rows = list(found)
    deliveries = await _deliveries(tx, key, [row.notice for row in rows])
    return [(row.position, _notice(row, deliveries[row.notice])) for row in rows]


async def _deliveries(
    tx: Connection, key: CustomerKey, notices: Sequence[str]
) -> dict[str, list[Delivery]]:
    found: dict[str, list[Delivery]] = defaultdict(list)
    for row in await tx.execute(_DELIVERIES, {**_key(key), "notices": list(notices)}):
        found[row.notice].append(_delivery(row, _texts(tx, key, row)))
    return found


# --- delivering --------------------------------------------------------------------------------

# Addresses are those of the moment of sending; a code goes to the phone that it is to prove.
_CLAIM = text("""
    WITH claimed AS (
        UPDATE deliveries SET claim_time = now()
        FROM (
            SELECT customer, merchant, notice, channel FROM deliveries
            WHERE state = 'PENDING' AND next_attempt_time <= :now
              AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
            ORDER BY next_attempt_time LIMIT :limit FOR UPDATE SKIP LOCKED
        ) AS due
        WHERE deliveries.customer = due.customer AND deliveries.merchant = due.merchant
          AND deliveries.notice = due.notice AND deliveries.channel = due.channel
        RETURNING deliveries.*)
    SELECT claimed.*, notices.kind, notices.subject_resource, notices.promised_amount_minor,
           notices.promised_currency, notices.charge_not_before, notices.notice_lead,
           notices.billing_mode, notices.traceparent, notices.occur_time, notices.create_time,
           CASE WHEN own_address IS NOT NULL THEN own_address
                WHEN channel = 'EMAIL' THEN contacts.email
                WHEN kind = 'PHONE_CODE' THEN phone_codes.phone
                ELSE contacts.phone END AS address,
           CASE WHEN channel = 'SMS' AND kind <> 'PHONE_CODE' AND own_address IS NULL
                THEN contacts.bind_count
                ELSE 0 END AS address_version
    FROM claimed
    JOIN notices USING (customer, merchant, notice)
    LEFT JOIN contacts USING (customer, merchant)
    LEFT JOIN phone_codes USING (customer, merchant, notice)
    ORDER BY notices.position
""")

_FINISH = text("""
    UPDATE deliveries SET state = done.state, attempt_count = done.attempt_count,
        next_attempt_time = done.next_attempt_time, deliver_time = done.deliver_time,
        failure_code = done.failure_code, claim_time = NULL,
        secret_text = CASE WHEN done.state = 'PENDING' THEN deliveries.secret_text END
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:state AS text[]), CAST(:attempt_count AS integer[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:failure_code AS text[]))
      AS done (merchant, customer, notice, channel, state, attempt_count, next_attempt_time,
               deliver_time, failure_code)
    WHERE deliveries.customer = done.customer AND deliveries.merchant = done.merchant
      AND deliveries.notice = done.notice AND deliveries.channel = done.channel
      -- One that was voided while it was being sent did arrive.
      AND (deliveries.state = 'PENDING' OR (deliveries.state = 'VOIDED' AND done.state = 'DELIVERED'))
""")

_LOCK = text("""
    SELECT FROM notices
    JOIN unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS asked (merchant, customer, notice) USING (merchant, customer, notice)
    ORDER BY customer, merchant, notice FOR UPDATE OF notices
""")

# A notice that arrived by the main channel is delivered. One that arrived by another is once the main
# channel was tried in vain, and then it was when it arrived.
_SETTLE = text("""
    UPDATE notices SET outcome = ended.outcome
    FROM (
        SELECT customer, merchant, notice,
               CASE WHEN count(*) FILTER (WHERE main AND state = 'DELIVERED') > 0 THEN 'DELIVERED'
                    WHEN count(*) FILTER (WHERE state = 'DELIVERED') > 0
                        AND count(*) FILTER (WHERE main AND attempt_count > 0) > 0 THEN 'DELIVERED'
                    WHEN count(*) FILTER (WHERE state = 'PENDING') > 0 THEN NULL
                    WHEN count(*) FILTER (WHERE state = 'VOIDED') > 0 THEN 'VOIDED'
                    ELSE 'FAILED' END AS outcome,
               min(deliver_time) AS deliver_time,
               coalesce(max(failure_code) FILTER (WHERE main), '') AS failure_code
        FROM deliveries
        JOIN unnest(
            CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
          AS asked (merchant, customer, notice) USING (merchant, customer, notice)
        GROUP BY customer, merchant, notice) AS ended
    WHERE notices.customer = ended.customer AND notices.merchant = ended.merchant
      AND notices.notice = ended.notice AND notices.outcome IS NULL AND ended.outcome IS NOT NULL
    RETURNING notices.merchant, notices.customer, notices.notice, notices.outcome,
              ended.deliver_time, ended.failure_code
""")

# Messages to one customer by one channel go out in their order.
_LAST_ATTEMPTS = text("""
    SELECT customer, merchant, channel, max(next_attempt_time) AS next_attempt_time
    FROM deliveries
    JOIN unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS asked (merchant, customer)
      USING (merchant, customer)
    WHERE state = 'PENDING' AND secret_text IS NULL AND failure_code <> :unreadable
    GROUP BY customer, merchant, channel
""")

_NEXT_ATTEMPT = text("SELECT min(next_attempt_time) FROM deliveries WHERE state = 'PENDING'")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A delivery that is to be attempted now, and where to."""

    notice: Notice
    delivery: Delivery
    # Empty when the customer has none any more. Not to be logged.
    address: str
    address_version: int
    # Whether its texts and address could be opened; they are empty if not.
    readable: bool = True


async def claim(tx: Connection, now: datetime, limit: int, claim_seconds: int) -> list[Outgoing]:
    """Take a batch of due deliveries, the oldest notice first, until finished or the claim ends.

    Claims run on the database's own clock: they concern machines, not customers.
    """
    rows = await tx.execute(_CLAIM, {"now": now, "limit": limit, "claim_seconds": claim_seconds})
    return [_outgoing(tx, row) for row in rows]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a notice ended."""

    notice: Notice
    outcome: DeliveryState
    # The first time that it arrived by any channel.
    deliver_time: datetime | None
    # Why the main channel failed.
    failure_code: str


async def finish(tx: Connection, results: Sequence[tuple[Outgoing, Progress]]) -> list[Ended]:
    """Store what attempts came to; returns the notices that ended by it."""
    of_notices = {(o.notice.key, o.notice.notice): o.notice for o, _ in results}
    asked = columns(
        [{**_key(key), "notice": notice} for key, notice in of_notices],
        "merchant", "customer", "notice",
    )  # fmt: skip
    # Two processes that finish two channels of one notice each see what the other came to.
    await tx.execute(_LOCK, asked)
    await _store(tx, results)
    return [
        Ended(
            of_notices[CustomerKey(row.merchant, row.customer), row.notice],
            DeliveryState(row.outcome),
            row.deliver_time,
            row.failure_code,
        )
        for row in await tx.execute(_SETTLE, asked)
    ]


async def last_attempts(
    tx: Connection, keys: Sequence[CustomerKey]
) -> dict[tuple[CustomerKey, Channel], datetime]:
    """When the last of what waits for customers is tried next, by channel."""
    asked = columns([_key(key) for key in keys], "merchant", "customer")
    rows = await tx.execute(_LAST_ATTEMPTS, {**asked, "unreadable": FAILURE_UNREADABLE})
    return {
        (CustomerKey(row.merchant, row.customer), Channel(row.channel)): row.next_attempt_time
        for row in rows
    }


async def _store(tx: Connection, results: Sequence[tuple[Outgoing, Progress]]) -> None:
    rows = [
        {
            **_key(outgoing.notice.key),
            "notice": outgoing.notice.notice,
            "channel": outgoing.delivery.channel,
            "state": progress.state,
            "attempt_count": progress.attempt_count,
            "next_attempt_time": progress.next_attempt_time,
            "deliver_time": progress.deliver_time,
            "failure_code": progress.failure_code,
        }
        for outgoing, progress in results
    ]
    await tx.execute(
        _FINISH,
        columns(
            rows, "merchant", "customer", "notice", "channel", "state", "attempt_count",
            "next_attempt_time", "deliver_time", "failure_code",
        ),
    )  # fmt: skip


async def next_attempt(tx: Connection) -> datetime | None:
    """When the next delivery is due, claimed or not."""
    return (await tx.execute(_NEXT_ATTEMPT)).scalar_one()  # type: ignore[no-any-return]


# --- rows --------------------------------------------------------------------------------------


def _key(key: CustomerKey) -> dict[str, str]:
    return {"merchant": key.merchant, "customer": key.customer}


def _failed(notice: Notice) -> bool:
    return any(delivery.state is DeliveryState.FAILED for delivery in notice.deliveries)


def _notice_columns(notices: Iterable[Notice]) -> dict[str, list[Any]]:
    rows = [
        {
            **_key(notice.key),
            "notice": notice.notice,
            "kind": notice.kind,
            "subject_resource": notice.subject_resource,
            "promised_amount_minor": notice.promise and notice.promise.amount_minor,
            "promised_currency": notice.promise and notice.promise.currency,
            "charge_not_before": notice.promise and notice.promise.charge_not_before,
            "notice_lead": notice.promise and notice.promise.notice_lead,
            "billing_mode": notice.promise and notice.promise.billing_mode,
            "traceparent": notice.traceparent,
            "occur_time": notice.occur_time,
            "create_time": notice.create_time,
            "outcome": DeliveryState.FAILED if _failed(notice) else None,
        }
        for notice in notices
    ]
    return columns(
        rows, "merchant", "customer", "notice", "kind", "subject_resource",
        "promised_amount_minor", "promised_currency", "charge_not_before", "notice_lead",
        "billing_mode", "traceparent", "occur_time", "create_time", "outcome",
    )  # fmt: skip


def _delivery_columns(
    tx: Connection, pairs: Iterable[tuple[Notice, Delivery]]
) -> dict[str, list[Any]]:
    def encrypted(notice: Notice, delivery: Delivery, column: str, value: str) -> bytes:
        return encrypt(tx, value, *aad(notice.key, notice.notice, delivery.channel, column))

    rows = [
        {
            **_key(notice.key),
            "notice": notice.notice,
            "channel": delivery.channel,
            "main": delivery.main,
            "state": delivery.state,
            "subject": encrypted(notice, delivery, "subject", delivery.subject),
            "text": encrypted(notice, delivery, "text", delivery.text),
            "secret_text": None
            if delivery.secret_text is None
            else encrypted(notice, delivery, "secret_text", delivery.secret_text),
            "next_attempt_time": delivery.next_attempt_time,
            "give_up_time": delivery.give_up_time,
            "failure_code": delivery.failure_code,
            "expire_time": delivery.expire_time,
            "own_address": encrypted(notice, delivery, "own_address", delivery.address)
            if delivery.address
            else None,
        }
        for notice, delivery in pairs
    ]
    return columns(
        rows, "merchant", "customer", "notice", "channel", "main", "state", "subject", "text",
        "secret_text", "next_attempt_time", "give_up_time", "failure_code", "expire_time",
        "own_address",
    )  # fmt: skip


def _notice(row: Any, deliveries: Iterable[Delivery]) -> Notice:  # noqa: ANN401 - a row
    promise = None
    if row.promised_currency is not None:
        promise = Promise(
            row.promised_amount_minor,
            row.promised_currency,
            row.charge_not_before,
            row.notice_lead,
            BillingMode[row.billing_mode],
        )
    return Notice(
        key=CustomerKey(row.merchant, row.customer),
        notice=row.notice,
        kind=NoticeKind(row.kind),
        subject_resource=row.subject_resource,
        promise=promise,
        traceparent=row.traceparent,
        occur_time=row.occur_time,
        create_time=row.create_time,
        deliveries=tuple(deliveries),
    )


class Texts(NamedTuple):
    """What a delivery says."""

    subject: str
    text: str
    secret_text: str | None


def _texts(tx: Connection, key: CustomerKey, row: Any) -> Texts:  # noqa: ANN401 - a row
    def opened(column: str, encrypted: bytes) -> str:
        return decrypt(tx, encrypted, *aad(key, row.notice, row.channel, column))

    return Texts(
        opened("subject", row.subject),
        opened("text", row.text),
        None if row.secret_text is None else opened("secret_text", row.secret_text),
    )


def _delivery(row: Any, texts: Texts) -> Delivery:  # noqa: ANN401 - a row
    return Delivery(
        channel=Channel(row.channel),
        main=row.main,
        state=DeliveryState(row.state),
        subject=texts.subject,
        text=texts.text,
        secret_text=texts.secret_text,
        next_attempt_time=row.next_attempt_time,
        give_up_time=row.give_up_time,
        attempt_count=row.attempt_count,
        deliver_time=row.deliver_time,
        failure_code=row.failure_code,
        expire_time=row.expire_time,
    )


def _outgoing(tx: Connection, row: Any) -> Outgoing:  # noqa: ANN401 - a row
    key = CustomerKey(row.merchant, row.customer)
    try:
        texts, address = _texts(tx, key, row), _address(tx, key, row)
        readable = True
    except UnreadableError:
        # One that does not open must not hold up the others.
        texts, address = Texts("", "", None), ""
        readable = False
    delivery = _delivery(row, texts)
    version = row.address_version or 0
    return Outgoing(_notice(row, (delivery,)), delivery, address, version, readable)


def _address(tx: Connection, key: CustomerKey, row: Any) -> str:  # noqa: ANN401 - a row
    if row.own_address is not None:
        bound_to = aad(key, row.notice, row.channel, "own_address")
    elif row.channel == Channel.EMAIL:
        bound_to = contacts.aad(key, "email")
    elif row.kind == NoticeKind.PHONE_CODE:
        bound_to = codes.aad(key, row.notice)
    else:
        bound_to = contacts.aad(key, "phone")
    return decrypt(tx, row.address or b"", *bound_to)


def aad(key: CustomerKey, notice: str, channel: str, column: str) -> tuple[str, ...]:
    """What an encrypted column of a delivery is bound to."""
    return "deliveries", column, key.merchant, key.customer, notice, channel
