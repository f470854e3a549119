"""What attempts at deliveries came to, and how notices end by it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.fallbacks import next_channel
from services.notify.domain.notices import (
    FAILURE_GATEWAY_AWAY,
    Channel,
    CustomerId,
    Delivery,
    DeliveryKey,
    MerchantId,
    Notice,
    NoticeId,
    NoticeKey,
    Progress,
)
from services.notify.domain.planning import Circumstances, stand_in_send
from services.notify.domain.quiet_hours import deadline
from services.notify.domain.transitions import DELIVERY, DeliveryEvent, DeliveryState
from services.notify.store import contacts, fallbacks
from services.notify.store.attempts import Outgoing
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

# A receipt comes for what a gateway has, for what is being sent, and for what was voided meanwhile.
_SAVE_RECEIPTS = Command("""
    UPDATE deliveries SET state = done.state, attempt_count = done.attempt_count,
        next_attempt_time = done.next_attempt_time, deliver_time = done.deliver_time,
        accept_time = done.accept_time, gateway_message = done.gateway_message,
        failure_code = done.failure_code,
        given_up = done.state = ANY(CAST(:given_up_states AS text[])) AND NOT done.is_permanent,
        secret_text = NULL
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:state AS text[]), CAST(:attempt_count AS integer[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:accept_time AS timestamptz[]), CAST(:gateway_message AS text[]),
        CAST(:failure_code AS text[]), CAST(:is_permanent AS boolean[]))
      AS done (merchant, customer, notice, channel, state, attempt_count, next_attempt_time,
               deliver_time, accept_time, gateway_message, failure_code, is_permanent)
    WHERE deliveries.customer = done.customer AND deliveries.merchant = done.merchant
      AND deliveries.notice = done.notice AND deliveries.channel = done.channel
""")

# What was voided while it was sent stays so, and may arrive.
_SAVE = Command("""
    UPDATE deliveries SET
        state = CASE WHEN deliveries.state = :pending OR done.state = :delivered
                     THEN done.state ELSE deliveries.state END,
        attempt_count = done.attempt_count, next_attempt_time = done.next_attempt_time,
        deliver_time = done.deliver_time, accept_time = done.accept_time,
        gateway = done.gateway, gateway_message = done.gateway_message,
        region_code = done.region_code, segment_count = done.segment_count,
        cost_micros = done.cost_micros, cost_currency = done.cost_currency,
        failure_code = CASE WHEN deliveries.state = :pending OR done.state = :delivered
                            THEN done.failure_code ELSE deliveries.failure_code END,
        given_up = deliveries.state = :pending AND done.state = :failed AND NOT done.is_permanent,
        secret_text = CASE WHEN done.state = :pending THEN deliveries.secret_text END
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:state AS text[]), CAST(:attempt_count AS integer[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:accept_time AS timestamptz[]), CAST(:gateway AS text[]),
        CAST(:gateway_message AS text[]), CAST(:failure_code AS text[]),
        CAST(:region_code AS text[]), CAST(:segment_count AS integer[]),
        CAST(:cost_micros AS bigint[]), CAST(:cost_currency AS text[]),
        CAST(:is_permanent AS boolean[]))
      AS done (merchant, customer, notice, channel, state, attempt_count, next_attempt_time,
               deliver_time, accept_time, gateway, gateway_message, failure_code, region_code,
               segment_count, cost_micros, cost_currency, is_permanent)
    WHERE deliveries.customer = done.customer AND deliveries.merchant = done.merchant
      AND deliveries.notice = done.notice AND deliveries.channel = done.channel
      -- Another transaction, or a receipt, may have ended it meanwhile.
      AND (deliveries.state = :pending
           OR (done.state = :delivered AND deliveries.state = ANY(CAST(:deliverable AS text[])))
           OR (done.state = :accepted AND deliveries.state = :voided))
""")

_LOCK = Command("""
    SELECT FROM notices
    JOIN unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS named (merchant, customer, notice) USING (merchant, customer, notice)
    ORDER BY customer, merchant, notice FOR UPDATE OF notices
""")


class _EndedRow(NamedTuple):
    """How a notice ended."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    outcome: DeliveryState
    deliver_time: datetime | None
    failure_code: str


# A notice that arrived by the main channel is delivered. One that arrived by another is once the main
# channel was tried in vain, and then it was when it arrived.
_SETTLE = Query(
    """
    UPDATE notices SET outcome = ended.outcome
    FROM (
        SELECT customer, merchant, notice,
               CASE WHEN count(*) FILTER (WHERE main AND evidence_time IS NOT NULL) > 0
                        THEN :delivered
                    WHEN count(evidence_time) > 0
                        AND count(*) FILTER (
                            WHERE main AND (attempt_count > 0 OR failure_code = :gateway_away)) > 0
                        THEN :delivered
                    WHEN count(*) FILTER (WHERE state IN (:pending, :accepted)) > 0 THEN NULL
                    WHEN count(*) FILTER (WHERE state = :voided) > 0 THEN :voided
                    ELSE :failed END AS outcome,
               min(evidence_time) AS deliver_time,
               coalesce(max(failure_code) FILTER (WHERE main), '') AS failure_code
        FROM deliveries
        JOIN unnest(
            CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
          AS named (merchant, customer, notice) USING (merchant, customer, notice)
        GROUP BY customer, merchant, notice) AS ended
    WHERE notices.customer = ended.customer AND notices.merchant = ended.merchant
      AND notices.notice = ended.notice AND notices.outcome IS NULL AND ended.outcome IS NOT NULL
    RETURNING notices.merchant, notices.customer, notices.notice, notices.outcome,
              ended.deliver_time, ended.failure_code
""",
    _EndedRow,
)


class Ended(NamedTuple):
    """How a notice ended."""

    notice: Notice
    outcome: DeliveryState
    # The first time that it arrived by any channel.
    deliver_time: datetime | None
    # Why the main channel failed.
    failure_code: str


async def finish(
    tx: Connection, results: Sequence[tuple[Outgoing, Progress]], now: datetime
) -> list[Ended]:
    """Store what attempts came to; returns the notices that ended by it.

    What has failed or is too late for its deadline goes through the next channel.
    """
    notices = {outgoing.notice.key: outgoing.notice for outgoing, _ in results}
    # Two processes that finish two channels of one notice each see what the other came to.
    await _LOCK.run_for(tx, notices)
    sent = [outgoing.notice for outgoing, _ in results]
    await _SAVE.run_for(
        tx,
        [progress for _, progress in results],
        merchant=[notice.merchant for notice in sent],
        customer=[notice.customer for notice in sent],
        notice=[notice.notice for notice in sent],
        channel=[outgoing.delivery.channel for outgoing, _ in results],
        region_code=[progress.usage.region_code for _, progress in results],
        segment_count=[progress.usage.segment_count for _, progress in results],
        cost_micros=[progress.usage.cost_micros for _, progress in results],
        cost_currency=[progress.usage.cost_currency for _, progress in results],
        pending=DeliveryState.PENDING,
        accepted=DeliveryState.ACCEPTED,
        delivered=DeliveryState.DELIVERED,
        voided=DeliveryState.VOIDED,
        failed=DeliveryState.FAILED,
        deliverable=sorted(DELIVERY.sources(DeliveryEvent.DELIVER) - {DeliveryState.ACCEPTED}),
    )
    await fall_back(tx, [(it.notice, it.delivery, progress) for it, progress in results], now)
    return await settle(tx, notices)


async def fall_back(
    tx: Connection, changed: Sequence[tuple[Notice, Delivery, Progress]], now: datetime
) -> None:
    """Make the deliveries of the next channels that are needed now, of locked notices."""
    needed = [
        (notice, deadline(notice.promise, delivery.expire_time), channel)
        for notice, delivery, progress in changed
        if (channel := next_channel(notice, delivery, progress, now)) is not None
    ]
    reached = await contacts.as_reached(tx, [notice.customer_key for notice, _, _ in needed])
    wanted = {}
    for notice, until, channel in needed:
        given = Circumstances(reached.get(notice.customer_key), {}, until, now)
        if (send := stand_in_send(notice.kind, channel, given)) is not None:
            wanted[DeliveryKey(*notice.key, channel)] = send
    await fallbacks.insert(tx, wanted, now)


async def lock(tx: Connection, notices: Collection[NoticeKey]) -> None:
    """Keep others from ending these notices until the transaction ends."""
    await _LOCK.run_for(tx, notices)


async def save_receipts(
    tx: Connection,
    progresses: Sequence[Progress],
    notices: Sequence[NoticeKey],
    channels: Sequence[Channel],
) -> None:
    """Store what receipts have made of deliveries of locked notices."""
    await _SAVE_RECEIPTS.run_for(
        tx,
        progresses,
        merchant=[notice.merchant for notice in notices],
        customer=[notice.customer for notice in notices],
        notice=[notice.notice for notice in notices],
        channel=channels,
        given_up_states=[DeliveryState.FAILED, DeliveryState.EXPIRED],
    )


async def settle(tx: Connection, notices: Mapping[NoticeKey, Notice]) -> list[Ended]:
    """End those of the notices that are decided now."""
    rows = await _SETTLE.all_for(
        tx,
        notices,
        pending=DeliveryState.PENDING,
        accepted=DeliveryState.ACCEPTED,
        delivered=DeliveryState.DELIVERED,
        voided=DeliveryState.VOIDED,
        failed=DeliveryState.FAILED,
        gateway_away=FAILURE_GATEWAY_AWAY,
    )
    return [
        Ended(
            notices[NoticeKey(row.merchant, row.customer, row.notice)],
            row.outcome,
            row.deliver_time,
            row.failure_code,
        )
        for row in rows
    ]
