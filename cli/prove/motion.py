"""Events on their way: what one database knows already and another does not yet.

A batch of the publisher's snapshot that is not in a subscriber's is on its way. So is one that the
subscriber has and the publisher's snapshot, which is a moment older, has not; and so is an event that
the subscriber could not handle, of a batch that it has. What such an event is about may differ between
the two; nothing else may.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cli.prove.findings import NAMED_MAX, Finding, Verdict
from cli.prove.moment import Moment
from cli.prove.progress import NO_EVENT_UNDELIVERED

# The services that each event concerns. Notify keeps any of them for webhooks.
SUBSCRIBERS: Mapping[str, Sequence[str]] = {
    "recurring.catalog.v1.StockRestocked": ("scheduler", "notify"),
    "recurring.catalog.v1.ProductDiscontinued": ("scheduler", "notify"),
    "recurring.catalog.v1.PriceChangeScheduled": ("scheduler", "notify"),
    "recurring.catalog.v1.PriceChangeWithdrawn": ("scheduler", "notify"),
    "recurring.catalog.v1.StockLow": ("notify",),
    "recurring.catalog.v1.StockOut": ("notify",),
    "recurring.scheduler.v1.OrderUpcoming": ("notify",),
    "recurring.scheduler.v1.OrderConfirmed": ("catalog", "notify"),
    "recurring.scheduler.v1.OrderSlotsBooked": ("catalog", "notify"),
    "recurring.scheduler.v1.OrderSkipped": ("catalog", "notify"),
    "recurring.scheduler.v1.OrderHeld": ("notify",),
    "recurring.scheduler.v1.OrderLapsed": ("catalog", "notify"),
    "recurring.scheduler.v1.OrderCancelled": ("catalog", "notify"),
    "recurring.scheduler.v1.StandingOrderChanged": ("notify",),
    "recurring.scheduler.v1.ItemDiscontinued": ("notify",),
    "recurring.scheduler.v1.SubscriberPriceChangeScheduled": ("notify",),
    "recurring.scheduler.v1.SubscriberPriceChangeWithdrawn": ("notify",),
    "recurring.scheduler.v1.PriceProtectionEnding": ("notify",),
    "recurring.scheduler.v1.PromotionEnding": ("notify",),
    "recurring.scheduler.v1.PaymentDue": ("payments", "notify"),
    "recurring.scheduler.v1.PaymentWithdrawn": ("payments", "notify"),
    "recurring.scheduler.v1.PaymentMandateChanged": ("payments", "notify"),
    "recurring.payments.v1.PaymentRequested": ("notify",),
    "recurring.payments.v1.PaymentRequestReminder": ("notify",),
    "recurring.payments.v1.PaymentActionRequired": ("notify",),
    "recurring.payments.v1.PaymentDeclined": ("scheduler", "notify"),
    "recurring.payments.v1.PaymentMethodBlocked": ("notify",),
    "recurring.payments.v1.PaymentMethodExpiring": ("notify",),
    "recurring.payments.v1.MandateTermsChanged": ("scheduler", "notify"),
    "recurring.payments.v1.RefundSucceeded": ("notify",),
    "recurring.payments.v1.DocumentIssued": ("notify",),
    "recurring.payments.v1.DisputeOpened": ("notify",),
    "recurring.payments.v1.DisputeClosed": ("notify",),
    "recurring.payments.v1.PaymentSucceeded": ("scheduler", "notify"),
    "recurring.payments.v1.PaymentRefused": ("scheduler", "notify"),
    "recurring.payments.v1.PaymentAbandoned": ("scheduler", "notify"),
    "recurring.payments.v1.PaymentOverdue": ("scheduler", "notify"),
    "recurring.payments.v1.RefundFailed": ("notify",),
    "recurring.notify.v1.ChargeNoticeDelivered": ("scheduler", "payments", "notify"),
    "recurring.notify.v1.ChargeNoticeFailed": ("scheduler", "notify"),
    "recurring.notify.v1.PriceNoticeDelivered": ("catalog", "notify"),
    "recurring.notify.v1.NoticeDelivered": ("notify",),
    "recurring.notify.v1.NoticeFailed": ("notify",),
    "recurring.notify.v1.ContactBound": ("notify",),
    "recurring.notify.v1.ContactUnbound": ("notify",),
    "recurring.notify.v1.WebhookEndpointDisabled": ("notify",),
}
# How long an event may be on its way.
IN_MOTION_MAX = timedelta(minutes=10)
# An event stored longer ago is looked for by a full proof only.
RECENT = timedelta(hours=1)
# As far may the clocks of the databases be apart.
CLOCKS_APART = timedelta(minutes=1)

_SENT = """
    SELECT batch_id, type, store_time < $1::timestamptz - $2::interval AS is_late,
           CASE WHEN $5 = '' THEN event_count ELSE (
               SELECT count(*) FROM audit_v1.events_published AS event
               WHERE event.batch_id = batch.batch_id AND event.merchant = $5) END AS event_count
    FROM audit_v1.batches_published AS batch WHERE type = ANY($3) AND store_time > $4
"""
_NOT_RECEIVED = """
    SELECT batch_id FROM unnest($1::uuid[]) AS asked (batch_id)
    WHERE NOT EXISTS (
        SELECT FROM audit_v1.batches_received AS received WHERE received.batch_id = asked.batch_id)
"""
_EVENTS = """
    SELECT DISTINCT batch_id, event_id, type, merchant, partition_key
    FROM audit_v1.events_published WHERE batch_id = ANY($1::uuid[])
"""
_RECEIVED = """
    SELECT batch_id, partition_keys FROM audit_v1.batches_received WHERE handle_time > $1
"""
_NOT_SENT = """
    SELECT batch_id FROM unnest($1::uuid[]) AS asked (batch_id)
    WHERE NOT EXISTS (
        SELECT FROM audit_v1.batches_published AS sent WHERE sent.batch_id = asked.batch_id)
"""
_FAILED = """
    SELECT event_id, type, merchant, partition_key,
           create_time < $1::timestamptz - $2::interval AS is_late
    FROM audit_v1.failed_events
"""
# Units and slots are held by a call, before the order is stored that they are for.
_HELD_JUST_NOW = """
    SELECT standing_order_name FROM audit_v1.stock_holds
    WHERE state = 'HELD' AND hold_time > $1::timestamptz - interval '30 seconds'
    UNION
    SELECT standing_order_name FROM audit_v1.slot_bookings
    WHERE state = 'HELD' AND book_time > $1::timestamptz - interval '30 seconds'
"""


@dataclass(frozen=True, slots=True)
class Motion:
    """What is on its way: the names of what it is about, and what has been so for too long."""

    subjects: frozenset[str]
    verdict: Verdict


async def read_motion(moment: Moment, *, full: bool) -> Motion:
    """What is on its way in a moment; `full` looks at every event that is kept."""
    publishers = {event_type.split(".")[1] for event_type in SUBSCRIBERS}
    found = await asyncio.gather(
        *(_forward(moment, publisher, full=full) for publisher in sorted(publishers)),
        *(_backward(moment, subscriber) for subscriber in moment.snapshots),
        *(_failed(moment, subscriber) for subscriber in moment.snapshots),
    )
    catalog = moment.snapshots["catalog"]
    held = await catalog.rows(_HELD_JUST_NOW, catalog.position.read_time)
    late = [finding for each in found for finding in each.late]
    subjects = {subject for each in found for subject in each.subjects}
    return Motion(
        frozenset(subjects | {name for (name,) in held}),
        Verdict(
            NO_EVENT_UNDELIVERED,
            sum(each.checked for each in found),
            tuple(late[:NAMED_MAX]),
            sum(each.under_way for each in found),
        ),
    )


@dataclass(slots=True)
class _Flow:
    """What was seen of the events in one direction."""

    subjects: set[str]
    late: list[Finding]
    checked: int = 0
    under_way: int = 0

    def add(self, event: Any, moment: Moment, subscriber: str, *, is_late: bool) -> None:  # noqa: ANN401
        """An event that a subscriber does not know."""
        self.under_way += 1
        self.subjects.add(event["partition_key"])
        if is_late and moment.merchant in {"", event["merchant"]}:
            what = f"{event['type']} {event['event_id']} about {event['partition_key']}"
            self.late.append(Finding(event["merchant"], f"{what} is unknown to {subscriber}"))


async def _forward(moment: Moment, publisher: str, *, full: bool) -> _Flow:
    """Events that a publisher has and a subscriber has not."""
    snapshot = moment.snapshots[publisher]
    read_time = snapshot.position.read_time
    since = read_time - (timedelta(days=36_500) if full else RECENT)
    types = [each for each in SUBSCRIBERS if each.split(".")[1] == publisher]
    flow = _Flow(set(), [])
    arguments = (read_time, IN_MOTION_MAX, types, since, moment.merchant)
    async for batches in snapshot.chunks(_SENT, *arguments):
        late = {batch["batch_id"]: batch["is_late"] for batch in batches}
        for_subscriber: dict[str, list[Any]] = defaultdict(list)
        for batch in batches:
            flow.checked += batch["event_count"]
            for subscriber in SUBSCRIBERS[batch["type"]]:
                for_subscriber[subscriber].append(batch)
        for subscriber, expected in for_subscriber.items():
            missing = await _lacking(moment, subscriber, _NOT_RECEIVED, expected)
            for event in await snapshot.rows(_EVENTS, list(missing)) if missing else ():
                flow.add(event, moment, subscriber, is_late=late[event["batch_id"]])
    return flow


async def _failed(moment: Moment, subscriber: str) -> _Flow:
    """Events that a subscriber has not handled, of batches that it has."""
    snapshot = moment.snapshots[subscriber]
    flow = _Flow(set(), [])
    for event in await snapshot.rows(_FAILED, snapshot.position.read_time, IN_MOTION_MAX):
        flow.add(event, moment, subscriber, is_late=event["is_late"])
    return flow


async def _backward(moment: Moment, subscriber: str) -> _Flow:
    """Events that a subscriber has and no publisher's snapshot has yet."""
    opened = min(snapshot.position.read_time for snapshot in moment.snapshots.values())
    flow = _Flow(set(), [])
    async for batches in moment.snapshots[subscriber].chunks(_RECEIVED, opened - CLOCKS_APART):
        left = batches
        for publisher in moment.snapshots:
            missing = await _lacking(moment, publisher, _NOT_SENT, left)
            left = [batch for batch in left if batch["batch_id"] in missing]
        # They have arrived, so they are not counted as on their way.
        for batch in left:
            flow.subjects.update(batch["partition_keys"])
    return flow


async def _lacking(moment: Moment, service: str, sql: str, batches: Sequence[Any]) -> set[Any]:
    """Which of the batches a service's statement does not find."""
    ids = [batch["batch_id"] for batch in batches]
    return {row["batch_id"] for row in await moment.snapshots[service].rows(sql, ids)}
