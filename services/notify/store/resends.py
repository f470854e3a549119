"""Copies of notices that operators had sent again, and notices that were given up."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from services.notify.domain.notices import (
    Channel,
    CustomerId,
    MerchantId,
    NoticeId,
    NoticeKey,
    NoticeKind,
)
from services.notify.domain.resending import Copies
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query


class _CopiesRow(NamedTuple):
    """What was sent again to a customer, and of one notice."""

    merchant: MerchantId
    customer: CustomerId
    original_notice: NoticeId
    day_count: int
    oldest_time: datetime | None
    last_time: datetime | None
    is_under_way: bool
    is_delivered: bool


_COPIES = Query(
    """
    SELECT merchant, customer, original_notice, day_count, oldest_time, last_time, is_under_way,
           is_delivered
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS named (merchant, customer, original_notice)
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE create_time > :since) AS day_count,
               min(create_time) FILTER (WHERE create_time > :since) AS oldest_time,
               max(create_time) FILTER (WHERE is_of_it) AS last_time,
               count(*) FILTER (WHERE is_of_it AND outcome IS NULL) > 0 AS is_under_way,
               count(*) FILTER (WHERE is_of_it AND outcome = 'DELIVERED') > 0 AS is_delivered
        FROM (
            SELECT create_time, outcome,
                   notices.original_notice = named.original_notice AS is_of_it
            FROM notices
            WHERE notices.customer = named.customer AND notices.merchant = named.merchant
              AND notices.original_notice <> '') AS copy
        OFFSET 0) AS copies
""",
    _CopiesRow,
)


class GivenUp(NamedTuple):
    """A notice that no channel brought, by the channel that it is sent again on."""

    # When its delivery would have been tried next.
    last_due_time: datetime
    customer: CustomerId
    notice: NoticeId
    channel: Channel
    # Of a copy: what it repeats.
    original_notice: NoticeId


class GivenUpFilter(NamedTuple):
    """Which notices that were given up; empty: all."""

    start_time: datetime
    end_time: datetime
    channel: Channel | Literal[""]
    # Given: what was refused for good by this code as well.
    failure_code: str
    kind: NoticeKind | Literal[""]


# Of a notice that both channels gave up, the main one; of one that was sent again, the last copy.
_GIVEN_UP = Query(
    """
    SELECT last_due_time, customer, notice, channel, original_notice
    FROM (VALUES ('FAILED'), ('EXPIRED')) AS ended (state)
    CROSS JOIN LATERAL (
        SELECT deliveries.next_attempt_time AS last_due_time, deliveries.customer,
               deliveries.notice, deliveries.channel, its.original_notice
        FROM deliveries
        CROSS JOIN LATERAL (
            SELECT position, coalesce(nullif(original_notice, ''), notice) AS original_notice
            FROM notices
            WHERE notices.customer = deliveries.customer AND notices.merchant = deliveries.merchant
              AND notices.notice = deliveries.notice AND outcome = 'FAILED'
              AND (:kind = '' OR kind = :kind)
            OFFSET 0) AS its
        CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(
                first.main AND first.state IN ('FAILED', 'EXPIRED')
                AND first.next_attempt_time >= CAST(:start_time AS timestamptz)
                AND first.next_attempt_time < CAST(:end_time AS timestamptz)
                AND CASE WHEN :failure_code = '' THEN first.given_up
                         ELSE first.failure_code = :failure_code END), false) AS main_is_listed
            FROM deliveries AS first
            WHERE first.customer = deliveries.customer AND first.merchant = deliveries.merchant
              AND first.notice = deliveries.notice
            OFFSET 0) AS main_delivery
        WHERE deliveries.merchant = :merchant AND deliveries.state IN ('FAILED', 'EXPIRED')
          AND deliveries.state = ended.state
          AND next_attempt_time >= CAST(:start_time AS timestamptz)
          AND next_attempt_time < CAST(:end_time AS timestamptz)
          AND (next_attempt_time, deliveries.customer, deliveries.notice)
              > (CAST(:after_time AS timestamptz), :after_customer, :after_notice)
          AND CASE WHEN :failure_code = '' THEN given_up ELSE failure_code = :failure_code END
          AND (:channel = '' OR channel = :channel)
          AND (:channel <> '' OR main OR NOT main_is_listed)
          AND NOT EXISTS (
              SELECT FROM notices AS later
              WHERE later.customer = deliveries.customer AND later.merchant = deliveries.merchant
                AND later.original_notice <> '' AND later.original_notice = its.original_notice
                AND later.position > its.position)
        ORDER BY next_attempt_time, deliveries.customer, deliveries.notice LIMIT :limit) AS given_up
    ORDER BY last_due_time, customer, notice LIMIT :limit
""",
    GivenUp,
)


async def copies(
    tx: Connection, originals: Sequence[NoticeKey], since: datetime
) -> dict[NoticeKey, Copies]:
    """What was sent again to the customers of notices since a time, and of these at all."""
    rows = await _COPIES.all_for(tx, originals, since=since)
    return {
        NoticeKey(row.merchant, row.customer, row.original_notice): Copies(
            row.day_count, row.oldest_time, row.last_time, row.is_under_way, row.is_delivered
        )
        for row in rows
    }


async def given_up(
    tx: Connection,
    merchant: MerchantId,
    wanted: GivenUpFilter,
    after: tuple[datetime, str, str],
    limit: int,
) -> list[GivenUp]:
    """A merchant's notices that were given up, the oldest first, after one of them."""
    after_time, after_customer, after_notice = after
    return await _GIVEN_UP.all(
        tx,
        merchant=merchant,
        **wanted._asdict(),
        after_time=after_time,
        after_customer=after_customer,
        after_notice=after_notice,
        limit=limit,
    )
