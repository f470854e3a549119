"""Notices."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from services.notify.domain.notices import (
    BillingMode,
    CustomerId,
    CustomerKey,
    Delivery,
    MerchantId,
    Notice,
    NoticeId,
    NoticeKey,
    NoticeKind,
    PriceNotice,
    Promise,
)
from services.notify.domain.transitions import DeliveryState
from services.notify.store import deliveries
from services.notify.store.facts import encrypted_facts, facts_of
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


@dataclass
class NoticeRow:
    """A notice without its deliveries."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    position: uuid.UUID
    kind: NoticeKind
    subject_resource: str
    promised_amount_minor: int
    promised_currency: str | None
    charge_not_before: datetime
    notice_lead: timedelta
    billing_mode: BillingMode | None
    traceparent: str
    occur_time: datetime
    create_time: datetime
    price: str | None
    price_announce_time: datetime
    standing_orders: list[str] | None
    facts: bytes
    original_notice: NoticeId

    @property
    def key(self) -> NoticeKey:
        """Which notice."""
        return NoticeKey(self.merchant, self.customer, self.notice)


@dataclass
class UndeliveredRow(NoticeRow):
    """A notice that did not arrive, and when its delivery was last due."""

    last_due_time: datetime


class NoticeFilter(NamedTuple):
    """Which notices to list; empty: all."""

    # Or what belongs to it.
    subject_resource: str
    kind: NoticeKind | Literal[""]
    # That of one of the deliveries.
    state: DeliveryState | Literal[""]


class _InsertedRow(NamedTuple):
    """A notice that was stored, and whether it was not there before."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    is_new: bool


_INSERT = Query(
    """
    INSERT INTO notices (merchant, customer, notice, kind, subject_resource, promised_amount_minor,
                         promised_currency, charge_not_before, notice_lead, billing_mode,
                         traceparent, occur_time, due_time, create_time, outcome, price,
                         price_announce_time, standing_orders, facts, original_notice)
    SELECT merchant, customer, notice, kind, subject_resource, promised_amount_minor,
           promised_currency, charge_not_before, notice_lead, billing_mode, traceparent, occur_time,
           due_time, create_time, outcome, price, price_announce_time,
           string_to_array(standing_orders, chr(10)), facts, original_notice
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:kind AS text[]), CAST(:subject_resource AS text[]),
        CAST(:promised_amount_minor AS bigint[]), CAST(:promised_currency AS text[]),
        CAST(:charge_not_before AS timestamptz[]), CAST(:notice_lead AS interval[]),
        CAST(:billing_mode AS text[]), CAST(:traceparent AS text[]),
        CAST(:occur_time AS timestamptz[]), CAST(:due_time AS timestamptz[]),
        CAST(:create_time AS timestamptz[]), CAST(:outcome AS text[]), CAST(:price AS text[]),
        CAST(:price_announce_time AS timestamptz[]), CAST(:standing_orders AS text[]),
        CAST(:facts AS bytea[]), CAST(:original_notice AS text[]))
      AS made (merchant, customer, notice, kind, subject_resource, promised_amount_minor,
               promised_currency, charge_not_before, notice_lead, billing_mode, traceparent,
               occur_time, due_time, create_time, outcome, price, price_announce_time,
               standing_orders, facts, original_notice)
    -- Events that read the same share a notice, which is as true as the last of them.
    ON CONFLICT (customer, merchant, notice) DO UPDATE SET occur_time = EXCLUDED.occur_time
        WHERE notices.occur_time < EXCLUDED.occur_time
    RETURNING merchant, customer, notice, xmax = 0 AS is_new
""",
    _InsertedRow,
)

_NAMED = Query(
    """
    SELECT merchant, customer, notice, position, kind, subject_resource, promised_amount_minor,
           promised_currency, charge_not_before, notice_lead, billing_mode, traceparent, occur_time,
           create_time, price, price_announce_time, standing_orders, facts, original_notice
    FROM notices
    JOIN unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS named (merchant, customer, notice) USING (merchant, customer, notice)
""",
    NoticeRow,
)

_OF_CUSTOMER = Query(
    """
    SELECT merchant, customer, notice, position, kind, subject_resource, promised_amount_minor,
           promised_currency, charge_not_before, notice_lead, billing_mode, traceparent, occur_time,
           create_time, price, price_announce_time, standing_orders, facts, original_notice
    FROM notices
    WHERE customer = :customer AND merchant = :merchant AND position > :after
      AND (:subject_resource = '' OR subject_resource = :subject_resource
           OR starts_with(subject_resource, :subject_resource || '/'))
      AND (:kind = '' OR kind = :kind)
      AND (:state = '' OR EXISTS (
          SELECT FROM deliveries
          WHERE deliveries.customer = notices.customer AND deliveries.merchant = notices.merchant
            AND deliveries.notice = notices.notice AND state = :state))
    ORDER BY position LIMIT :limit
""",
    NoticeRow,
)

# A notice that neither channel brought is listed once, at its later delivery.
_UNDELIVERED = Query(
    """
    SELECT merchant, customer, notice, position, kind, subject_resource, promised_amount_minor,
           promised_currency, charge_not_before, notice_lead, billing_mode, traceparent, occur_time,
           create_time, price, price_announce_time, standing_orders, facts, original_notice,
           last_due_time
    FROM (
        SELECT merchant, customer, notice, next_attempt_time AS last_due_time
        FROM deliveries
        WHERE merchant = :merchant AND state IN ('FAILED', 'EXPIRED') AND state = :state
          AND (next_attempt_time, customer, notice)
              < (CAST(:before_time AS timestamptz), :before_customer, :before_notice)
          AND NOT EXISTS (
              SELECT FROM deliveries AS later
              WHERE later.customer = deliveries.customer AND later.merchant = deliveries.merchant
                AND later.notice = deliveries.notice AND later.state = deliveries.state
                AND (later.next_attempt_time, later.channel)
                    > (deliveries.next_attempt_time, deliveries.channel))) AS undelivered
    CROSS JOIN LATERAL (
        SELECT position, kind, subject_resource, promised_amount_minor, promised_currency,
               charge_not_before, notice_lead, billing_mode, traceparent, occur_time, create_time,
               price, price_announce_time, standing_orders, facts, original_notice
        FROM notices
        WHERE notices.customer = undelivered.customer AND notices.merchant = undelivered.merchant
          AND notices.notice = undelivered.notice
          AND (:subject_resource = '' OR subject_resource = :subject_resource
               OR starts_with(subject_resource, :subject_resource || '/'))
          AND (:kind = '' OR kind = :kind)
        OFFSET 0) AS its
    ORDER BY last_due_time DESC, customer DESC, notice DESC LIMIT :limit
""",
    UndeliveredRow,
)

# The notices come before their deliveries: whoever finishes a delivery locks its notice first.
_ERASE_FACTS = Command("""
    UPDATE notices SET facts = ''
    WHERE customer = :customer AND merchant = :merchant AND facts <> ''
""")


async def insert(tx: Connection, notices: Sequence[Notice]) -> list[Notice]:
    """Store notices with their deliveries; returns those that were not there yet."""
    promises = [notice.promise for notice in notices]
    rows = await _INSERT.all_for(
        tx,
        notices,
        promised_amount_minor=[promise and promise.amount_minor for promise in promises],
        promised_currency=[promise and promise.currency for promise in promises],
        charge_not_before=[promise and promise.charge_not_before for promise in promises],
        notice_lead=[promise and promise.notice_lead for promise in promises],
        billing_mode=[promise and promise.billing_mode for promise in promises],
        price=[notice.price_notice and notice.price_notice.price for notice in notices],
        price_announce_time=[
            notice.price_notice and notice.price_notice.announce_time for notice in notices
        ],
        standing_orders=[
            notice.price_notice and "\n".join(notice.price_notice.standing_orders)
            for notice in notices
        ],
        facts=[encrypted_facts(tx, notice) for notice in notices],
        outcome=[DeliveryState.FAILED if notice.is_failed else None for notice in notices],
    )
    inserted = {NoticeKey(row.merchant, row.customer, row.notice) for row in rows if row.is_new}
    new = [notice for notice in notices if notice.key in inserted]
    await deliveries.insert(tx, new)
    return new


async def one(tx: Connection, key: NoticeKey) -> Notice | None:
    """A notice with its deliveries."""
    return (await named(tx, [key])).get(key)


async def named(tx: Connection, keys: Collection[NoticeKey]) -> dict[NoticeKey, Notice]:
    """Those of the notices that exist, with their deliveries."""
    rows = await _NAMED.all_for(tx, keys)
    by_notice = await deliveries.of_notices(tx, [row.key for row in rows])
    return {row.key: notice_of(tx, row, by_notice[row.key]) for row in rows}


async def of_customer(
    tx: Connection, customer: CustomerKey, wanted: NoticeFilter, after: uuid.UUID, limit: int
) -> list[tuple[uuid.UUID, Notice]]:
    """A customer's notices with their positions, the oldest first, after a position."""
    rows = await _OF_CUSTOMER.all(
        tx, **customer._asdict(), **wanted._asdict(), after=after, limit=limit
    )
    by_notice = await deliveries.of_notices(tx, [row.key for row in rows])
    return [(row.position, notice_of(tx, row, by_notice[row.key])) for row in rows]


async def undelivered(
    tx: Connection,
    merchant: MerchantId,
    wanted: NoticeFilter,
    before: tuple[datetime, str, str],
    limit: int,
) -> list[tuple[datetime, Notice]]:
    """The notices of all customers with a delivery that is FAILED or EXPIRED, the newest first.

    They come with the time at which that delivery was last due, after a time, a customer and a notice.
    """
    before_time, before_customer, before_notice = before
    rows = await _UNDELIVERED.all(
        tx,
        merchant=merchant,
        **wanted._asdict(),
        before_time=before_time,
        before_customer=before_customer,
        before_notice=before_notice,
        limit=limit,
    )
    by_notice = await deliveries.of_notices(tx, [row.key for row in rows])
    return [(row.last_due_time, notice_of(tx, row, by_notice[row.key])) for row in rows]


async def erase_facts(tx: Connection, customer: CustomerKey) -> None:
    """Erase what a customer's notices are made of."""
    await _ERASE_FACTS.run(tx, **customer._asdict())


def notice_of(
    tx: Connection, row: NoticeRow, its_deliveries: Iterable[Delivery], *, readable: bool = True
) -> Notice:
    """The notice of a row; without its facts if they cannot be read. Raises UnreadableError."""
    promise = None
    if row.promised_currency is not None and row.billing_mode is not None:
        promise = Promise(
            row.promised_amount_minor,
            row.promised_currency,
            row.charge_not_before,
            row.notice_lead,
            row.billing_mode,
        )
    return Notice(
        *row.key,
        kind=row.kind,
        subject_resource=row.subject_resource,
        promise=promise,
        traceparent=row.traceparent,
        occur_time=row.occur_time,
        create_time=row.create_time,
        deliveries=tuple(its_deliveries),
        price_notice=PriceNotice(
            row.price, row.price_announce_time, tuple(row.standing_orders or ())
        )
        if row.price
        else None,
        facts=facts_of(tx, row.key, row.kind, row.facts) if readable else None,
        original_notice=row.original_notice,
    )
