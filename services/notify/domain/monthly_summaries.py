"""What a customer was notified of in a month of theirs, added up. Pure.

A summary adds up the notices that were made in the month: receipts, refunds and orders that were left
out. So each of them counts in one summary, however late its event arrived.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from services.notify.domain.notices import Facts, NoticeKey, NoticeKind
from services.notify.domain.templates.kinds import (
    CURRENCIES_MAX,
    MonthlySummary,
    OrderSkipped,
    OrderUpcoming,
    Receipt,
    Refund,
    StandingOrderChanged,
)
from services.notify.domain.templates.lines import MonthTotal
from services.runtime.money import Money
from services.runtime.time_zones import zone

# On the first day of the next month, by the clock of the customer: after the quiet hours.
SUMMARY_HOUR = time(9)
# Nobody lives further than this from where a month was counted first.
_ZONES_APART_MAX = timedelta(days=2)
# A month in which one of these was made has a summary.
SUMMED_UP = frozenset({NoticeKind.RECEIPT, NoticeKind.REFUND, NoticeKind.ORDER_SKIPPED})
# The last of each says what comes next of its standing order.
COMING = frozenset({
    NoticeKind.RECEIPT, NoticeKind.STANDING_ORDER_CHANGED, NoticeKind.ORDER_UPCOMING,
    NoticeKind.ORDER_SKIPPED,
})  # fmt: skip


class MadeNotice(NamedTuple):
    """A notice that a summary is made of."""

    key: NoticeKey
    kind: NoticeKind
    subject_resource: str
    occur_time: datetime
    # None: it cannot be read any more.
    facts: Facts | None

    @property
    def standing_order(self) -> str:
        """The standing order that it is about."""
        return self.subject_resource.partition("/orders/")[0]


class SummaryMonth(NamedTuple):
    """A month of a customer's."""

    # Its first day.
    first: date
    time_zone: str

    @property
    def start_time(self) -> datetime:
        """When it begins."""
        return self._at(self.first, time())

    @property
    def end_time(self) -> datetime:
        """When it is over."""
        return self._at(_following(self.first), time())

    @property
    def due_time(self) -> datetime:
        """When its summary is made."""
        return self._at(_following(self.first), SUMMARY_HOUR)

    @property
    def following(self) -> "SummaryMonth":
        """The month after it."""
        return SummaryMonth(_following(self.first), self.time_zone)

    def _at(self, day: date, hour: time) -> datetime:
        return datetime.combine(day, hour, zone(self.time_zone)).astimezone(UTC)


def month_of(moment: datetime, time_zone: str) -> SummaryMonth:
    """The month that an instant is in; without a time zone, that of UTC."""
    known = time_zone or "UTC"
    return SummaryMonth(moment.astimezone(zone(known)).date().replace(day=1), known)


def month_due_at(due_time: datetime, time_zone: str) -> SummaryMonth:
    """The month whose summary was due at an instant, by the time zone of then or another one."""
    return month_of(due_time - _ZONES_APART_MAX, time_zone)


def _following(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def summary_of(
    month: SummaryMonth, made: Sequence[MadeNotice], latest: Sequence[MadeNotice], now: datetime
) -> MonthlySummary | None:
    """What the notices of a month add up to; None: nothing happened.

    `latest` are the last notices of each kind about each standing order.
    """
    facts = [notice.facts for notice in made]
    totals = _totals(facts)
    skip_count = sum(fact.order_count for fact in facts if isinstance(fact, OrderSkipped))
    if not totals and not skip_count:
        return None
    coming = _coming(latest, now)
    next_due_time, next_title, next_zone = coming[0] if coming else (None, "", month.time_zone)
    return MonthlySummary(
        month=month.first,
        time_zone=next_zone,
        totals=totals[:CURRENCIES_MAX],
        skip_count=skip_count,
        has_more=len(totals) > CURRENCIES_MAX,
        next_due_time=next_due_time,
        next_title=next_title,
        next_more=max(len(coming) - 1, 0),
    )


def _totals(facts: Sequence[Facts | None]) -> tuple[MonthTotal, ...]:
    """What was paid and given back, by currency: the one with most orders first."""
    receipts = [fact for fact in facts if isinstance(fact, Receipt)]
    refunds = [fact for fact in facts if isinstance(fact, Refund)]
    paid = [receipt.amount for receipt in receipts]
    saved = [receipt.saved_amount for receipt in receipts if receipt.saved_amount]
    given_back = [refund.refund_amount for refund in refunds]
    counts = {
        currency: sum(amount.currency == currency for amount in paid)
        for currency in {amount.currency for amount in (*paid, *given_back)}
    }
    return tuple(
        MonthTotal(
            counts[currency],
            _sum(paid, currency) or (Money(0, currency) if counts[currency] else None),
            _sum(given_back, currency),
            _sum(saved, currency),
        )
        for currency in sorted(counts, key=lambda currency: (-counts[currency], currency))
    )


def _sum(amounts: Sequence[Money], currency: str) -> Money | None:
    """What the amounts of a currency come to; None: nothing."""
    total = sum(amount.amount_minor for amount in amounts if amount.currency == currency)
    return Money(total, currency) if total else None


def _coming(latest: Sequence[MadeNotice], now: datetime) -> list[tuple[datetime, str, str]]:
    """When the next order of each standing order is due, its title and its time zone."""
    by_standing_order: dict[str, list[MadeNotice]] = {}
    for notice in latest:
        by_standing_order.setdefault(notice.standing_order, []).append(notice)
    coming = []
    for notices in by_standing_order.values():
        skipped = {n.facts.due_time for n in notices if isinstance(n.facts, OrderSkipped)}
        said = [notice for notice in notices if notice.kind is not NoticeKind.ORDER_SKIPPED]
        last = max(said, key=lambda notice: notice.occur_time, default=None)
        if last is None:
            continue
        match last.facts:
            case OrderUpcoming() as facts:
                due_time: datetime | None = facts.order_time
            case Receipt() as facts:
                due_time = facts.next_due_time
            case StandingOrderChanged() as facts:
                due_time = facts.next_due_time if facts.goes_on else None
            case _:
                continue
        if due_time is not None and due_time > now and due_time not in skipped:
            coming.append((due_time, facts.title, facts.time_zone))
    return sorted(coming)
