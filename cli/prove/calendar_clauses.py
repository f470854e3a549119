"""The dates of cycles against a calendar of its own: slow, and the same for no two schedules."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from cli.prove.calendar import due_times, is_plain
from cli.prove.cycles import CYCLES_ON_CALENDAR, NO_DATE_BILLED_AGAIN
from cli.prove.findings import NAMED_MAX, Finding, Verdict
from cli.prove.moment import Moment
from cli.values import format_moment

# How long after its due time a cycle may be without an order: services that were away catch up.
LATE_MAX = timedelta(hours=1)
# No order is there earlier than this before it is due: the longest notice lead, and a day.
AHEAD_MAX = timedelta(days=61)
CYCLE_MAX = 2**31 - 1
_CACHED_SCHEDULES = 4096

_STANDING_ORDERS = """
    SELECT merchant, standing_order, state, schedule, base_cycle, first_cycle, next_cycle, last_cycle,
           erased, CASE WHEN state = 'CANCELLED' THEN state_change_time END AS end_time,
           opened.cycles, opened.due_times
    FROM audit_v1.standing_orders
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(cycle ORDER BY cycle), '{}') AS cycles,
               coalesce(array_agg(CASE WHEN NOT moved THEN due_time END ORDER BY cycle), '{}')
                   AS due_times
        FROM audit_v1.orders
        WHERE orders.merchant = standing_orders.merchant
          AND orders.standing_order = standing_orders.standing_order) AS opened
    WHERE NOT dates_changed AND $1 IN ('', merchant)
    ORDER BY schedule
"""
# Of standing orders of which a cycle was brought forward: what is billed.
_BILLED = """
    SELECT merchant, standing_order, cycle, local_date,
           moved OR (merchant, standing_order, cycle) IN (
               SELECT merchant, standing_order, cycle FROM audit_v1.cycles_moved_by_customers)
               AS date_chosen
    FROM audit_v1.orders
    WHERE state IN ('UPCOMING', 'AWAITING_PAYMENT', 'PAID')
      AND (merchant, standing_order) IN (
          SELECT merchant, standing_order FROM audit_v1.cycles_brought_forward)
      AND $1 IN ('', merchant)
"""
_BROUGHT_FORWARD = """
    SELECT merchant, standing_order, cycle, due_time, time_zone
    FROM audit_v1.cycles_brought_forward WHERE $1 IN ('', merchant)
"""


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """What decides which cycles there are, and those that have an order.

    What its columns mean is on the page of the views.
    """

    merchant: str
    standing_order: str
    state: str
    schedule: str
    base_cycle: int
    first_cycle: int
    next_cycle: int | None
    last_cycle: int | None
    erased: bool
    # When it was cancelled; None: it was not.
    end_time: datetime | None
    cycles: Sequence[int]
    # None of a cycle that was moved after it was announced.
    due_times: Sequence[datetime | None]


@dataclass(frozen=True, slots=True)
class Billed:
    """An order of which money was taken, or is to be."""

    merchant: str
    standing_order: str
    cycle: int
    local_date: date
    # It was moved to its date, by its customer or after it was announced: it is there on purpose.
    date_chosen: bool


@dataclass(frozen=True, slots=True)
class BroughtForward:
    """A cycle that its customer ordered before its date, which is used up by it."""

    merchant: str
    standing_order: str
    cycle: int
    # None: it may have been moved before, and nothing says from which date.
    due_time: datetime | None
    time_zone: str

    @property
    def nominal_date(self) -> date | None:
        """The date that is used up."""
        if self.due_time is None:
            return None
        return self.due_time.astimezone(ZoneInfo(self.time_zone)).date()


async def judge_dates(moment: Moment) -> list[Verdict]:
    """How it stands with the dates of cycles."""
    checked = 0
    findings: list[Finding] = []
    snapshot = moment.snapshots["scheduler"]
    async for rows in snapshot.chunks(_STANDING_ORDERS, moment.merchant):
        for row in rows:
            checked += len(row["cycles"])
            findings += off_calendar(StandingOrder(**row), moment.now)
    return [Verdict(CYCLES_ON_CALENDAR, checked, tuple(findings[:NAMED_MAX]))]


async def judge_brought_forward(moment: Moment) -> list[Verdict]:
    """How it stands with cycles that were brought forward."""
    snapshot = moment.snapshots["scheduler"]
    billed = [Billed(**row) for row in await snapshot.rows(_BILLED, moment.merchant)]
    forward = [BroughtForward(**r) for r in await snapshot.rows(_BROUGHT_FORWARD, moment.merchant)]
    return [Verdict(NO_DATE_BILLED_AGAIN, len(forward), tuple(billed_again(forward, billed)))]


def off_calendar(standing_order: StandingOrder, now: datetime) -> list[Finding]:
    """Cycles of a standing order that are not as the calendar has them.

    Schedules whose dates may move by business days or blackouts are not walked here.
    """
    schedule = _schedule(standing_order.schedule)
    if not is_plain(schedule):
        return []
    name = f"merchants/{standing_order.merchant}/standingOrders/{standing_order.standing_order}"
    found = dict(zip(standing_order.cycles, standing_order.due_times, strict=True))
    dues = [due for due in found.values() if due is not None]
    horizon = max([now + AHEAD_MAX, *dues])
    expected = dict(
        enumerate(_due_times(standing_order.schedule, horizon), standing_order.base_cycle)
    )
    last, until = _expected_until(standing_order, now)
    wrong = []
    for cycle, due_time in expected.items():
        if standing_order.first_cycle <= cycle <= last and due_time <= until and cycle not in found:
            wrong.append(
                f"cycle {cycle} of {name} was due {format_moment(due_time)} and has no order"
            )
    for cycle, due in found.items():
        if cycle not in expected:
            wrong.append(f"the calendar has no cycle {cycle} of {name}")
        elif due is not None and due != expected[cycle]:
            wrong.append(
                f"cycle {cycle} of {name} was due {format_moment(due)},"
                f" the calendar says {format_moment(expected[cycle])}"
            )
    return [Finding(standing_order.merchant, what) for what in wrong]


def _expected_until(standing_order: StandingOrder, now: datetime) -> tuple[int, datetime]:
    """Up to which cycle, and up to when, each cycle must have its order.

    One that is paused gets the rows of what passes meanwhile when the pause ends. One that has ended
    has a row for each cycle up to then; of an erased one nothing says when that was.
    """
    opened = max(standing_order.cycles, default=0)
    last = CYCLE_MAX if standing_order.last_cycle is None else standing_order.last_cycle
    until = now - LATE_MAX
    if standing_order.state == "PAUSED":
        following = standing_order.next_cycle
        return (opened if following is None else following - 1), until
    if standing_order.state in {"CANCELLED", "COMPLETED"} and standing_order.erased:
        return opened, until
    return last, min(until, standing_order.end_time or until)


def billed_again(forward: Sequence[BroughtForward], billed: Sequence[Billed]) -> list[Finding]:
    """Dates that are billed again after their cycle was brought forward.

    What was brought forward is read from the log of what callers changed, and not from what the
    scheduler made of it.
    """
    keys = {(each.merchant, each.standing_order, each.cycle) for each in billed}
    used_up = {
        (each.merchant, each.standing_order, each.cycle): each.nominal_date
        for each in forward
        if (each.merchant, each.standing_order, each.cycle) in keys
    }
    by_date: dict[tuple[str, str, date | None], list[int]] = defaultdict(list)
    for each in billed:
        if (each.merchant, each.standing_order, each.cycle) not in used_up and not each.date_chosen:
            by_date[each.merchant, each.standing_order, each.local_date].append(each.cycle)
    return [
        Finding(
            merchant,
            f"{day} of merchants/{merchant}/standingOrders/{name} was brought forward as cycle {cycle},"
            f" and is billed again as cycle {again}",
        )
        for (merchant, name, cycle), day in used_up.items()
        for again in by_date.get((merchant, name, day), [])
    ]


@lru_cache(maxsize=_CACHED_SCHEDULES)
def _schedule(text: str) -> Any:  # noqa: ANN401 - JSON
    return orjson.loads(text)


@lru_cache(maxsize=_CACHED_SCHEDULES)
def _due_times(schedule: str, until: datetime) -> list[datetime]:
    return due_times(_schedule(schedule), until)
