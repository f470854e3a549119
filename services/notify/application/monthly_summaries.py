"""Summaries of customers' months: made once a month, of what they were notified of."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.application.notices import Draft, notice_of_draft
from services.notify.domain.monthly_summaries import SummaryMonth, month_due_at, summary_of
from services.notify.domain.notices import Contact, CustomerKey, Notice, NoticeId, NoticeKey
from services.notify.domain.templates.kinds import MonthlySummary
from services.notify.names import CUSTOMER
from services.notify.store import attempts, contacts, notices, settings, superseding
from services.notify.store import monthly_summaries as store
from services.notify.store.monthly_summaries import DueSummary, NextSummary, WantedMonth
from services.runtime.db.idempotency import derived_id
from services.runtime.db.pool import Connection
from services.runtime.observability import tracing


class _Origin(NamedTuple):
    """The end of a month."""

    occur_time: datetime
    traceparent: str


async def make_due(tx: Connection, buckets: Sequence[int], now: datetime, limit: int) -> int:
    """Sum up a batch of months that are over; returns how many were due.

    A month in which nothing happened has no summary. Neither has a customer whom nothing reaches, who
    has muted summaries, or whose merchant has none sent any more.
    """
    due = await store.due(tx, buckets, now, limit)
    reached = await contacts.by_key(tx, [each.customer_key for each in due])
    wanted = await settings.with_summaries(tx, {each.merchant for each in due})
    months = {
        each.customer_key: month_due_at(each.summary_due_time, reached[each.customer_key].time_zone)
        for each in due
        if each.merchant in wanted and each.customer_key in reached
    }
    mine = await store.put_off(
        tx, [_next(each, months.get(each.customer_key), now) for each in due]
    )
    over = {key: month for key, month in months.items() if key in mine and month.due_time <= now}
    await notices.insert(tx, await _made(tx, over, reached, now))
    return len(due)


def _next(due: DueSummary, month: SummaryMonth | None, now: datetime) -> NextSummary:
    """When a month is summed up next: the one that is due, if the customer's zone has changed."""
    next_due_time = None
    if month is not None:
        next_due_time = month.due_time if month.due_time > now else month.following.due_time
    return NextSummary(*due, next_due_time)


async def _made(
    tx: Connection,
    over: Mapping[CustomerKey, SummaryMonth],
    reached: Mapping[CustomerKey, Contact],
    now: datetime,
) -> list[Notice]:
    """The summaries of months that are over, of those in which something happened."""
    if not over:
        return []
    spans = [WantedMonth(*key, month.start_time, month.end_time) for key, month in over.items()]
    made = await store.made(tx, spans)
    latest = await store.latest(tx, made.keys())
    # An order that was left out and comes after all was not.
    named = {notice.key for each in (made, latest) for them in each.values() for notice in them}
    untrue = await superseding.superseded(tx, named)
    waiting = await attempts.last(tx, made.keys())
    found = []
    for key, its in made.items():
        true = [notice for notice in its if notice.key not in untrue]
        ahead = [notice for notice in latest.get(key, ()) if notice.key not in untrue]
        facts = summary_of(over[key], true, ahead, now)
        if facts is not None:
            origin = _Origin(now, tracing.new_traceparent("monthly summary"))
            draft = Draft(CUSTOMER.format(*key), CUSTOMER.format(*key), facts)
            notice_key = _key(key, facts)
            found.append(
                notice_of_draft(origin, draft, notice_key, facts, reached[key], waiting, now)
            )
    return [notice for notice in found if notice.deliveries and not notice.is_failed]


def _key(key: CustomerKey, facts: MonthlySummary) -> NoticeKey:
    """One for each month of a customer's."""
    month = f"{facts.month:%Y-%m}"
    return NoticeKey(*key, NoticeId(str(derived_id("monthly-summary", *key, month))))
