"""Events on their way: what one database knows already and another does not yet.

An event of the publisher's snapshot that is not in a subscriber's is on its way. So is one that the
subscriber has and the publisher's snapshot, which is a moment older, has not. What such an event is
about may differ between the two; nothing else may.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cli.prove.findings import NAMED_MAX, Finding, Verdict
from cli.prove.moment import Moment
from cli.prove.progress import NO_EVENT_UNTOLD

# The services that each event concerns.
SUBSCRIBERS: Mapping[str, Sequence[str]] = {
    "recurring.scheduler.v1.OrderUpcoming": ("notify",),
    "recurring.scheduler.v1.OrderConfirmed": ("catalog", "notify"),
    "recurring.scheduler.v1.OrderSkipped": ("catalog", "notify"),
    "recurring.scheduler.v1.OrderHeld": ("notify",),
    "recurring.scheduler.v1.OrderLapsed": ("catalog", "notify"),
    "recurring.scheduler.v1.OrderCancelled": ("catalog", "notify"),
    "recurring.scheduler.v1.StandingOrderChanged": ("notify",),
    "recurring.scheduler.v1.PaymentDue": ("payments",),
    "recurring.scheduler.v1.PaymentWithdrawn": ("payments", "notify"),
    "recurring.scheduler.v1.PaymentMandateChanged": ("payments",),
    "recurring.payments.v1.PaymentRequested": ("notify",),
    "recurring.payments.v1.PaymentDeclined": ("scheduler", "notify"),
    "recurring.payments.v1.PaymentMethodBlocked": ("notify",),
    "recurring.payments.v1.RefundSucceeded": ("notify",),
    "recurring.payments.v1.PaymentSucceeded": ("scheduler", "notify"),
    "recurring.payments.v1.PaymentRefused": ("scheduler", "notify"),
    "recurring.payments.v1.PaymentAbandoned": ("scheduler", "notify"),
    "recurring.notify.v1.NoticeDelivered": ("scheduler", "payments"),
    "recurring.notify.v1.NoticeFailed": ("scheduler",),
}
# How long an event may be on its way.
IN_MOTION_MAX = timedelta(minutes=10)
# An event published longer ago is looked for by a full proof only.
RECENT = timedelta(hours=1)
# As far may the clocks of the databases be apart.
CLOCKS_APART = timedelta(minutes=1)

_SENT = """
    SELECT event_id, type, merchant, partition_key,
           coalesce(publish_time < $1::timestamptz - $3::interval,
                    occur_time < $2::timestamptz - $3::interval) AS is_late
    FROM audit_v1.events_published
    WHERE type = ANY($4) AND (publish_time IS NULL OR publish_time > $5)
"""
_NOT_RECEIVED = """
    SELECT event_id FROM unnest($1::uuid[], $2::text[]) AS asked (event_id, partition_key)
    WHERE NOT EXISTS (
        SELECT FROM audit_v1.events_received AS received
        WHERE received.partition_key = asked.partition_key AND received.event_id = asked.event_id)
"""
_RECEIVED = """
    SELECT event_id, partition_key FROM audit_v1.events_received WHERE handle_time > $1
"""
_NOT_SENT = """
    SELECT event_id FROM unnest($1::uuid[], $2::text[]) AS asked (event_id, partition_key)
    WHERE NOT EXISTS (
        SELECT FROM audit_v1.events_published AS sent
        WHERE sent.partition_key = asked.partition_key AND sent.event_id = asked.event_id)
"""
# Units are held by a call, before the order is stored that they are for.
_HELD_JUST_NOW = """
    SELECT DISTINCT standing_order_name FROM audit_v1.stock_holds
    WHERE state = 'HELD' AND hold_time > $1::timestamptz - interval '30 seconds'
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
    )
    catalog = moment.snapshots["catalog"]
    held = await catalog.rows(_HELD_JUST_NOW, catalog.position.read_time)
    late = [finding for each in found for finding in each.late]
    subjects = {subject for each in found for subject in each.subjects}
    return Motion(
        frozenset(subjects | {name for (name,) in held}),
        Verdict(
            NO_EVENT_UNTOLD,
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


async def _forward(moment: Moment, publisher: str, *, full: bool) -> _Flow:
    """Events that a publisher has and a subscriber has not."""
    position = moment.snapshots[publisher].position
    since = position.read_time - (timedelta(days=36_500) if full else RECENT)
    types = [each for each in SUBSCRIBERS if each.split(".")[1] == publisher]
    flow = _Flow(set(), [])
    arguments = (position.read_time, moment.now, IN_MOTION_MAX, types, since)
    async for rows in moment.snapshots[publisher].chunks(_SENT, *arguments):
        for_subscriber: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            if moment.merchant in {"", row["merchant"]}:
                flow.checked += 1
            for subscriber in SUBSCRIBERS[row["type"]]:
                for_subscriber[subscriber].append(row)
        for subscriber, events in for_subscriber.items():
            missing = await _lacking(moment, subscriber, _NOT_RECEIVED, events)
            for row in (each for each in events if each["event_id"] in missing):
                flow.under_way += 1
                flow.subjects.add(row["partition_key"])
                if row["is_late"] and moment.merchant in {"", row["merchant"]}:
                    what = f"{row['type']} {row['event_id']} about {row['partition_key']}"
                    flow.late.append(Finding(row["merchant"], f"{what} is unknown to {subscriber}"))
    return flow


async def _backward(moment: Moment, subscriber: str) -> _Flow:
    """Events that a subscriber has and no publisher's snapshot has yet."""
    opened = min(snapshot.position.read_time for snapshot in moment.snapshots.values())
    flow = _Flow(set(), [])
    async for rows in moment.snapshots[subscriber].chunks(_RECEIVED, opened - CLOCKS_APART):
        left = rows
        for publisher in moment.snapshots:
            missing = await _lacking(moment, publisher, _NOT_SENT, left)
            left = [row for row in left if row["event_id"] in missing]
        flow.under_way += len(left)
        flow.subjects.update(row["partition_key"] for row in left)
    return flow


async def _lacking(moment: Moment, service: str, sql: str, events: Sequence[Any]) -> set[Any]:
    """Which of the events a service's statement does not find."""
    ids = [event["event_id"] for event in events]
    keys = [event["partition_key"] for event in events]
    return {row["event_id"] for row in await moment.snapshots[service].rows(sql, ids, keys)}
