"""Webhooks: what a platform wants is kept, and queued once for each of its endpoints."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from cli.prove.clauses import Clause, LocalClause
from cli.prove.findings import NAMED_MAX, Finding, Verdict
from cli.prove.moment import Moment
from cli.prove.motion import RECENT, SUBSCRIBERS

WEBHOOKS_QUEUED = LocalClause(
    "webhooks-queued",
    "Every event that is kept for webhooks is queued once for each endpoint that wants it, with an end "
    "or a next attempt.",
    ("notify",),
    """
    SELECT count(*) FROM audit_v1.webhook_deliveries
    WHERE UNSETTLED(create_time) AND $1 IN ('', merchant)
    """,
    # An endpoint may be changed while an event is stored, neither seeing the other. Deliveries are kept
    # for 30 days, and a WebhookPing is for one endpoint alone.
    """
    SELECT endpoint.merchant, format('%s %s of %s is not queued for the endpoint %s', type, event_id,
                                     occur_time, endpoint) AS what
    FROM audit_v1.webhook_endpoints AS endpoint JOIN audit_v1.webhook_events AS event USING (merchant)
    WHERE is_enabled AND occur_time > send_since_time + interval '30 seconds'
      AND (event_types = '{}' OR type = ANY (event_types))
      AND type <> 'recurring.notify.v1.WebhookPing' AND create_time > $2 - interval '29 days'
      AND UNSETTLED(create_time) AND $1 IN ('', merchant)
      AND NOT EXISTS (
          SELECT FROM audit_v1.webhook_deliveries AS delivery
          WHERE delivery.merchant = event.merchant AND delivery.endpoint = endpoint.endpoint
            AND delivery.event_id = event.event_id)
    UNION ALL
    SELECT merchant, format('%s %s waits for the endpoint %s, and is not kept', event_type, event_id,
                            endpoint)
    FROM audit_v1.webhook_deliveries AS delivery
    WHERE state = 'PENDING' AND $1 IN ('', merchant)
      AND NOT EXISTS (
          SELECT FROM audit_v1.webhook_events AS event
          WHERE event.merchant = delivery.merchant AND event.event_id = delivery.event_id)
    """,
    ("notices",),
)
WEBHOOK_EVENTS_KEPT = Clause(
    "webhook-events-kept",
    "Every event that notify received and an endpoint of its merchant wants is kept for webhooks.",
)
LOCAL = (WEBHOOKS_QUEUED,)
# Events are kept for 36 days.
KEPT_DAYS = timedelta(days=29)

# By type; an empty one stands for all.
_WANTED = """
    SELECT merchant, type, min(keep_since_time) AS since
    FROM audit_v1.webhook_endpoints,
         unnest(CASE event_types WHEN '{}' THEN '{""}' ELSE event_types END) AS type
    WHERE $1 IN ('', merchant) GROUP BY merchant, type
"""
_PUBLISHED = """
    SELECT batch_id, event_id, type, merchant FROM audit_v1.events_published AS event
    WHERE occur_time > $1 AND store_time > $2 AND EXISTS (
        SELECT FROM unnest($3::text[], $4::text[], $5::timestamptz[]) AS wanted (merchant, type, since)
        WHERE wanted.merchant = event.merchant AND wanted.type IN ('', event.type)
          AND occur_time > since + interval '30 seconds')
"""
_NOT_KEPT = """
    SELECT merchant, event_id
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS asked (batch_id, event_id, merchant)
    WHERE EXISTS (
        SELECT FROM audit_v1.batches_received AS received WHERE received.batch_id = asked.batch_id)
      AND NOT EXISTS (
          SELECT FROM audit_v1.failed_events AS failed WHERE failed.event_id = asked.event_id)
      AND NOT EXISTS (
          SELECT FROM audit_v1.webhook_events AS kept
          WHERE kept.merchant = asked.merchant AND kept.event_id = asked.event_id)
"""


async def judge_kept(moment: Moment, *, full: bool) -> list[Verdict]:
    """Whether what endpoints want was kept; `full` looks at every event that is kept itself."""
    wanted = await moment.rows("notify", _WANTED)
    publishers = {event_type.split(".")[1] for event_type in SUBSCRIBERS} if wanted else set()
    found = await asyncio.gather(
        *(_of_publisher(moment, publisher, wanted, full=full) for publisher in sorted(publishers))
    )
    findings = [finding for _, findings in found for finding in findings]
    checked = sum(count for count, _ in found)
    return [Verdict(WEBHOOK_EVENTS_KEPT, checked, tuple(findings[:NAMED_MAX]))]


async def _of_publisher(
    moment: Moment, publisher: str, wanted: Sequence[Any], *, full: bool
) -> tuple[int, list[Finding]]:
    """How many events of a publisher are wanted, and which of them notify has and did not keep."""
    snapshot, notify = moment.snapshots[publisher], moment.snapshots["notify"]
    since = snapshot.position.read_time - (timedelta(days=36_500) if full else RECENT)
    columns = [[row[column] for row in wanted] for column in ("merchant", "type", "since")]
    checked, findings = 0, []
    async for events in snapshot.chunks(_PUBLISHED, moment.now - KEPT_DAYS, since, *columns):
        checked += len(events)
        types = {event["event_id"]: event["type"] for event in events}
        asked = [[event[name] for event in events] for name in ("batch_id", "event_id", "merchant")]
        findings += [
            Finding(row["merchant"], f"{types[row['event_id']]} {row['event_id']} is not kept")
            for row in await notify.rows(_NOT_KEPT, *asked)
        ]
    return checked, findings
