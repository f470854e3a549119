"""Which notices are not true any more, and the voiding of what has not gone out of them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import (
    VOID_SUPERSEDED,
    CustomerId,
    MerchantId,
    NoticeId,
    NoticeKey,
)
from services.notify.domain.superseding import FINAL, SUPERSEDES
from services.notify.domain.transitions import DELIVERY, DeliveryEvent, DeliveryState
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class SubjectEvent(NamedTuple):
    """An event about a subject of notices, by the key of its own notice, whether or not it has one."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    subject_resource: str
    # The name of the event, without its package.
    name: str
    occur_time: datetime


_RECORD = Command("""
    INSERT INTO superseded_kinds AS known (merchant, customer, subject_resource, before_time, kinds)
    SELECT DISTINCT merchant, customer, subject_resource,
           CASE WHEN CAST(:is_final AS boolean) THEN 'infinity' ELSE occur_time END AS before_time,
           CAST(:kinds AS text[])
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:subject_resource AS text[]),
        CAST(:occur_time AS timestamptz[]))
      AS event (merchant, customer, subject_resource, occur_time)
    ORDER BY merchant, customer, subject_resource, before_time
    ON CONFLICT (customer, merchant, subject_resource, before_time) DO UPDATE
        SET kinds = known.kinds || EXCLUDED.kinds
        WHERE NOT known.kinds @> EXCLUDED.kinds
""")

# Of one instant, what arrived before.
_OLDER = Query(
    """
    SELECT DISTINCT notices.merchant, notices.customer, notices.notice
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:subject_resource AS text[]),
        CAST(:occur_time AS timestamptz[]), CAST(:notice AS text[]))
      AS event (merchant, customer, subject_resource, occur_time, notice)
    JOIN notices USING (merchant, customer, subject_resource)
    LEFT JOIN notices AS own ON own.customer = event.customer AND own.merchant = event.merchant
        AND own.notice = event.notice
    WHERE notices.kind = ANY (CAST(:kinds AS text[])) AND notices.notice <> event.notice
      AND (notices.occur_time < event.occur_time
           OR (notices.occur_time = event.occur_time
               AND (own.position IS NULL OR notices.position < own.position)))
""",
    NoticeKey,
)

# A copy is as true as what it repeats.
_SUPERSEDED = Query(
    """
    SELECT notices.merchant, notices.customer, notices.notice
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS named (merchant, customer, notice)
    JOIN notices USING (merchant, customer, notice)
    LEFT JOIN notices AS original ON notices.original_notice <> ''
        AND original.customer = notices.customer AND original.merchant = notices.merchant
        AND original.notice = notices.original_notice
    WHERE EXISTS (
        SELECT FROM superseded_kinds AS known
        WHERE known.customer = notices.customer AND known.merchant = notices.merchant
          AND known.subject_resource = notices.subject_resource
          AND known.before_time > coalesce(original.occur_time, notices.occur_time)
          AND notices.kind = ANY (known.kinds))
""",
    NoticeKey,
)

# A receipt of what a gateway has does not make it true again. The notice's row first, as whoever stores
# what attempts came to locks it.
_VOID = Command("""
    WITH voided AS (
        UPDATE notices SET outcome = coalesce(outcome, :voided)
        FROM (
            SELECT customer, merchant, notice FROM notices
            JOIN unnest(
                CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
              AS named (merchant, customer, notice) USING (merchant, customer, notice)
            WHERE EXISTS (
                SELECT FROM deliveries
                WHERE deliveries.customer = notices.customer
                  AND deliveries.merchant = notices.merchant
                  AND deliveries.notice = notices.notice
                  AND deliveries.state IN (:pending, :accepted))
            ORDER BY customer, merchant, notice FOR UPDATE OF notices) AS stale
        WHERE notices.customer = stale.customer AND notices.merchant = stale.merchant
          AND notices.notice = stale.notice
        RETURNING notices.customer, notices.merchant, notices.notice)
    UPDATE deliveries SET state = :voided, failure_code = :reason, secret_text = NULL
    FROM voided
    WHERE deliveries.customer = voided.customer AND deliveries.merchant = voided.merchant
      AND deliveries.notice = voided.notice AND deliveries.state = :pending
""")


async def supersede(tx: Connection, events: Sequence[SubjectEvent]) -> None:
    """Void what events make untrue, and keep them for notices that arrive after them.

    Comes after the events' own notices are stored, in their transaction.
    """
    by_name: dict[str, list[SubjectEvent]] = defaultdict(list)
    for event in events:
        by_name[event.name].append(event)
    # Whoever handles events has those of one name: what they void is then given once.
    for name, named in by_name.items():
        if kinds := sorted(SUPERSEDES.get(name, ())):
            await _RECORD.run_for(tx, named, kinds=kinds, is_final=name in FINAL)
            await void(tx, await _OLDER.all_for(tx, named, kinds=kinds), VOID_SUPERSEDED)
    await void_superseded(tx, events)


async def void_superseded(
    tx: Connection, notices: Collection[NoticeKey | SubjectEvent]
) -> set[NoticeKey]:
    """Void those of the notices that a later event has made untrue; returns them."""
    untrue = await superseded(tx, notices)
    await void(tx, untrue, VOID_SUPERSEDED)
    return untrue


async def superseded(
    tx: Connection, notices: Collection[NoticeKey | SubjectEvent]
) -> set[NoticeKey]:
    """Those of the notices that a later event has made untrue."""
    return set(await _SUPERSEDED.all_for(tx, notices))


async def void(tx: Connection, notices: Collection[NoticeKey], reason: str) -> None:
    """Void what has not gone out of notices, for a reason."""
    pending = DeliveryState.PENDING
    await _VOID.run_for(
        tx,
        notices,
        pending=pending,
        accepted=DeliveryState.ACCEPTED,
        voided=DELIVERY.to(pending, DeliveryEvent.VOID),
        reason=reason,
    )
