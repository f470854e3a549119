"""When cycles fall due: pure functions of a schedule, without a clock.

`index` counts the cycles of one schedule from 0. Each is found directly, by its index or by a date,
and never from the one before: 31 January, 28 February, 31 March. A cycle that is skipped keeps its
index and still counts, as an `EXDATE` does in RFC 5545, so an index means the same date for ever.

The schedule must have no violations (see `validation.violations`).
"""

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter

from services.runtime.time_zones import zone
from services.scheduler.domain.business_days import is_business_day
from services.scheduler.domain.occurrences import Occurrences, occurrences_of
from services.scheduler.domain.schedule import (
    EVERY_DAY,
    LAST_DATE,
    BlackoutRule,
    BusinessDayRule,
    DateRange,
    End,
    EndAfter,
    EndOn,
    Monthly,
    Recurrence,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)

_ONE_DAY = timedelta(days=1)
_CACHED_RUNS = 1024
"""Of some 5 KiB each, at the worst."""


class SkipReason(StrEnum):
    """Why a cycle has no date."""

    BLACKOUT = "BLACKOUT"
    MEETS_NEXT_CYCLE = "MEETS_NEXT_CYCLE"
    MEETS_PREVIOUS_CYCLE = "MEETS_PREVIOUS_CYCLE"
    NO_SUCH_DAY = "NO_SUCH_DAY"
    AFTER_END = "AFTER_END"


class MoveReason(StrEnum):
    """Why a cycle's date is not the one that the recurrence gave."""

    BLACKOUT = "BLACKOUT"
    NOT_A_BUSINESS_DAY = "NOT_A_BUSINESS_DAY"


@dataclass(frozen=True, slots=True)
class CycleDate:
    """One cycle's date, and why.

    The nominal date is what the recurrence alone gives. The local date is when the cycle takes
    place, None if it is skipped; a skipped cycle's `due_at` is that of its nominal date, the moment
    at which it is passed over. A cycle that is skipped for the sake of another has both reasons:
    why it would have moved, and why it could not.
    """

    index: int
    nominal_date: date
    local_date: date | None
    due_at: datetime
    skip_reason: SkipReason | None = None
    move_reason: MoveReason | None = None

    @property
    def day(self) -> date:
        """Its place among the dates of the other cycles, whether or not it is skipped."""
        return self.local_date or self.nominal_date


def nominal_date(schedule: Schedule, index: int) -> date | None:
    """The date that the recurrence gives for a cycle; None once the schedule has ended.

    Raises:
        ValueError: the index is negative.
    """
    run = _run(schedule)
    return run.nominal_date(index) if run.holds(index) else None


def cycle_count(schedule: Schedule) -> int:
    """How many cycles the schedule has, skipped ones included, up to its end or the calendar's."""
    return _run(schedule).length


def first_index_on_or_after(schedule: Schedule, day: date) -> int | None:
    """The first cycle whose nominal date is the day or later; None if the schedule ends before."""
    if day > LAST_DATE:
        return None
    run = _run(schedule)
    index = run.occurrences.rank(max(day, schedule.start_date).toordinal()) - run.base
    return index if run.holds(index) else None


def cycle(schedule: Schedule, index: int) -> CycleDate | None:
    """The date of one cycle under blackouts and business days; None once the schedule has ended.

    Local dates strictly increase with the index: a cycle that would have to move onto or past its
    next one is skipped instead. None is before the start date or after the end.

    Raises:
        ValueError: the index is negative.
    """
    run = _run(schedule)
    return _cycle(schedule, run, index) if run.holds(index) else None


def local_to_utc(day: date, local_time: time, time_zone: str) -> datetime:
    """The instant of a local date and time.

    RFC 5545 §3.3.5: a local time that a clock change skips is read with the offset before the
    change (02:30 becomes 03:30), and one that occurs twice is the first. `fold=0` means both.

    Raises:
        ZoneInfoNotFoundError: there is no such zone.
    """
    return datetime.combine(day, local_time.replace(fold=0), zone(time_zone)).astimezone(UTC)


def is_day(day: date, time_zone: str) -> bool:
    """Whether a zone has the date at all: one that moves over the date line leaves one out.

    Apia had no 30 December 2011, Kwajalein no 21 August 1993.
    """
    midnight = local_to_utc(day, time(), time_zone)
    # Read with the offset before, the midnight of a day that is left out is that of the next one.
    return utc_to_local_date(midnight, time_zone) == day


def is_allowed(schedule: Schedule, day: date) -> bool:
    """Whether a cycle may take place on a day: in no blackout, and a business day where that counts."""
    return _blackout(schedule, day) is None and _is_open(schedule, day)


def utc_to_local_date(instant: datetime, time_zone: str) -> date:
    """The local date at an instant; what "today" is for a schedule."""
    return instant.astimezone(zone(time_zone)).date()


def same_dates(left: Schedule, right: Schedule) -> bool:
    """Whether two schedules say the same, however they are spelt."""
    return left == right or _canonical(left) == _canonical(right)


def rule_start(schedule: Schedule) -> date:
    """The first date of the recurrence, if it gives the same dates as the start date does.

    A business-day rule may move the first cycle back to a day that is not before the start date, and
    before that first date: then the start date itself matters.
    """
    first = nominal_date(schedule, 0)
    if first is None or schedule.business_days.rule is not BusinessDayRule.PREVIOUS:
        return first or schedule.start_date
    from_first = replace(schedule, start_date=first, recurrence=_explicit(schedule))
    same = _target(schedule, first) == _target(from_first, first)
    return first if same else schedule.start_date


def _canonical(schedule: Schedule) -> Schedule:
    blackouts = tuple(_merged_blackouts(schedule.blackouts))
    works_by_rule = schedule.business_days.rule is not BusinessDayRule.NONE
    return replace(
        schedule,
        start_date=rule_start(schedule),
        recurrence=_explicit(schedule),
        blackouts=blackouts,
        blackout_rule=schedule.blackout_rule if blackouts else BlackoutRule.SKIP,
        business_days=schedule.business_days if works_by_rule else EVERY_DAY,
    )


def _explicit(schedule: Schedule) -> Recurrence:
    """The recurrence with every day named that it takes from the start date, in order and each once."""
    start = schedule.start_date
    match schedule.recurrence:
        case Weekly(every_weeks, weekdays):
            chosen = sorted(set(weekdays or (Weekday(start.isoweekday()),)))
            return Weekly(every_weeks, tuple(chosen))
        case Monthly(every_months, _, nth_weekdays) if nth_weekdays:
            return Monthly(every_months, (), tuple(sorted(set(nth_weekdays))))
        case Monthly(every_months, month_days):
            return Monthly(every_months, tuple(sorted(set(month_days or (start.day,)))))
        case Yearly(every_years, month, month_day):
            return Yearly(every_years, month or start.month, month_day or start.day)
        case recurrence:
            return recurrence


@dataclass(frozen=True, slots=True)
class _Run:
    """The occurrences of a recurrence that are a schedule's own."""

    occurrences: Occurrences
    base: int
    length: int

    def holds(self, index: int) -> bool:
        if index < 0:
            raise ValueError(f"the index of a cycle is not negative: {index}")
        return index < self.length

    def nominal_date(self, index: int) -> date:
        return date.fromordinal(self.occurrences.at(self.base + index))


def _run(schedule: Schedule) -> _Run:
    return _run_of(schedule.recurrence, schedule.start_date, schedule.end)


@lru_cache(maxsize=_CACHED_RUNS)
def _run_of(recurrence: Recurrence, start_date: date, end: End | None) -> _Run:
    occurrences = occurrences_of(recurrence, start_date)
    base = occurrences.rank(start_date.toordinal())
    length = occurrences.rank(_last_date(end).toordinal() + 1) - base
    if isinstance(end, EndAfter):
        length = max(min(length, end.cycle_count), 0)
    return _Run(occurrences, base, length)


def _last_date(end: End | None) -> date:
    return end.end_date if isinstance(end, EndOn) else LAST_DATE


def _cycle(schedule: Schedule, run: _Run, index: int) -> CycleDate:
    nominal = run.nominal_date(index)
    if _is_left_out(schedule, nominal):
        # It is passed over just before the moment at which the next day begins in its stead.
        passed_at = local_to_utc(nominal, time(), schedule.time_zone) - timedelta(seconds=1)
        return CycleDate(index, nominal, None, passed_at, SkipReason.NO_SUCH_DAY)
    target, move_reason = _target(schedule, nominal)
    skip_reason = _skip_reason(schedule, run, index, nominal, target)
    local_date = target if skip_reason is None else None
    due_at = local_to_utc(local_date or nominal, schedule.local_time, schedule.time_zone)
    return CycleDate(index, nominal, local_date, due_at, skip_reason, move_reason)


def _target(schedule: Schedule, nominal: date) -> tuple[date | None, MoveReason | None]:
    """Where a cycle would go if it were the only one; no date if a blackout takes it out."""
    if _blackout(schedule, nominal) is not None:
        day_after = _after_blackout(schedule, nominal)
        return day_after, MoveReason.BLACKOUT if day_after else None
    if _is_open(schedule, nominal):
        return nominal, None
    day = _nearest_open_day(schedule, nominal)
    if _blackout(schedule, day) is not None:
        return _after_blackout(schedule, day), MoveReason.NOT_A_BUSINESS_DAY
    return day, MoveReason.NOT_A_BUSINESS_DAY


def _skip_reason(
    schedule: Schedule, run: _Run, index: int, nominal: date, target: date | None
) -> SkipReason | None:
    """Why a cycle can't have the date; the cycles around it are judged by their nominal dates.

    That keeps the answer local, so that any cycle is found without walking. One case needs more: a
    cycle that moves back may meet one that moved forward, and the later of the two gives way.
    """
    if target is None:
        return SkipReason.BLACKOUT
    if target > nominal:
        if index + 1 < run.length and target >= run.nominal_date(index + 1):
            return SkipReason.MEETS_NEXT_CYCLE
        if target > _last_date(schedule.end):
            return SkipReason.AFTER_END
    if target < nominal and index > 0:
        previous = run.nominal_date(index - 1)
        previous_target, _ = _target(schedule, previous)
        kept = previous_target if previous_target and previous_target < nominal else previous
        if target <= max(previous, kept):
            return SkipReason.MEETS_PREVIOUS_CYCLE
    return None


def _blackout(schedule: Schedule, day: date) -> DateRange | None:
    """The days around this one that are all blacked out, whichever blackouts they are of."""
    stretches = _merged_blackouts(schedule.blackouts)
    place = bisect_right(stretches, day, key=attrgetter("start_date")) - 1
    return stretches[place] if place >= 0 and day in stretches[place] else None


@lru_cache(maxsize=_CACHED_RUNS)
def _merged_blackouts(blackouts: tuple[DateRange, ...]) -> list[DateRange]:
    """Blackouts in order; those that meet or overlap are merged, so that one step leaves each."""
    merged: list[DateRange] = []
    for blackout in sorted(blackouts, key=attrgetter("start_date")):
        if merged and blackout.start_date <= merged[-1].end_date + _ONE_DAY:
            end_date = max(merged[-1].end_date, blackout.end_date)
            merged[-1] = DateRange(merged[-1].start_date, end_date)
        else:
            merged.append(blackout)
    return merged


def _is_left_out(schedule: Schedule, day: date) -> bool:
    """Whether the zone of the schedule has no such date."""
    time_zone = schedule.time_zone
    due_at = local_to_utc(day, schedule.local_time, time_zone)
    # Nearly always the due time is on its date, which settles it.
    return utc_to_local_date(due_at, time_zone) != day and not is_day(day, time_zone)


def _is_open(schedule: Schedule, day: date) -> bool:
    business_days = schedule.business_days
    if _is_left_out(schedule, day):
        return False
    return business_days.rule is BusinessDayRule.NONE or is_business_day(business_days, day)


def _after_blackout(schedule: Schedule, day: date) -> date | None:
    """The next day that is allowed in every respect; None if the rule is to skip."""
    if schedule.blackout_rule is BlackoutRule.SKIP:
        return None
    while True:
        if blackout := _blackout(schedule, day):
            day = blackout.end_date + _ONE_DAY
        elif not _is_open(schedule, day):
            day += _ONE_DAY
        else:
            return day


def _nearest_open_day(schedule: Schedule, nominal: date) -> date:
    """The nearest business day in the direction of the rule, blackouts aside.

    Where the one before would be before the start date, it is the one after.
    """
    if schedule.business_days.rule is BusinessDayRule.PREVIOUS:
        day = nominal
        while not _is_open(schedule, day):
            day -= _ONE_DAY
        if day >= schedule.start_date:
            return day
    day = nominal
    while not _is_open(schedule, day):
        day += _ONE_DAY
    return day
