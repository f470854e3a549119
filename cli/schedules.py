"""Schedules as people say them: when a standing order falls due, in options and in words."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from typing import Annotated, Literal

import typer
from google.type import date_pb2, dayofweek_pb2, timeofday_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import one_of
from cli.values import format_date, from_date, parse_date, parse_time_of_day

_EVERY = re.compile(r"(?:([0-9]{1,6}) )?(day|week|month|year)s?")
_NTH = re.compile(r"(-?[1-5])([a-z]+)")
_MONTH_DAY = re.compile(r"-?[0-9]{1,2}")
_DAY_OF_YEAR = re.compile(r"([0-9]{1,2})-([0-9]{1,2})")
_HOLIDAYS = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?")
_RULE_START = re.compile(r"\s+(?=RRULE:)")
# A weekday has these two names, and no other beginning of its full one.
_WEEKDAYS = {
    text: number
    for name, number in dayofweek_pb2.DayOfWeek.items()
    if number
    for text in (name.lower(), name[:3].lower())
}
_WEEKDAYS_IN_ORDER = sorted(set(_WEEKDAYS.values()))
_MONTH_DAY_LAST = 31
_DAYS_PER_WEEK = 7
_A_LEAP_YEAR = 2000
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd", -1: "last"}
_RULE_FIELDS: tuple[Literal["start_date", "local_time", "time_zone", "recurrence", "end"], ...] = (
    "start_date",
    "local_time",
    "time_zone",
    "recurrence",
    "end",
)


@dataclass(frozen=True)
class ScheduleOptions:
    """When it falls due: as options, or as a rule of iCalendar."""

    every: Annotated[
        str, typer.Option(metavar="PERIOD", help='"month", "2 weeks", "10 days", "year" …')
    ] = ""
    on: Annotated[
        str,
        typer.Option(
            metavar="DAYS",
            help='Weeks: "mon,thu" or "mon-fri". Months: "31", "1,15", "-1" (the last) or "2tue,-1fri".'
            ' Years: "12-24".',
        ),
    ] = ""
    start: Annotated[
        date_pb2.Date | None,
        typer.Option(parser=parse_date, metavar="DATE", help="The first possible date."),
    ] = None
    zone: Annotated[
        str, typer.Option(metavar="ZONE", help="The time zone, for example Europe/Berlin.")
    ] = ""
    at: Annotated[
        timeofday_pb2.TimeOfDay | None,
        typer.Option(
            parser=parse_time_of_day, metavar="HH:MM", help="The local time of each due date."
        ),
    ] = None
    count: Annotated[int | None, typer.Option(min=1, help="End after so many cycles.")] = None
    until: Annotated[
        date_pb2.Date | None,
        typer.Option(parser=parse_date, metavar="DATE", help="End with this date."),
    ] = None
    blackouts: Annotated[
        list[str] | None,
        typer.Option(
            "--blackout",
            metavar="DATE..DATE",
            help="No cycle falls due on these dates. Repeatable.",
        ),
    ] = None
    blackout_rule: Annotated[
        pb.Schedule.BlackoutRule.ValueType,
        one_of(pb.Schedule.BlackoutRule, "What happens to a cycle on a blackout date."),
    ] = pb.Schedule.BLACKOUT_RULE_UNSPECIFIED
    business_days: Annotated[
        pb.Schedule.BusinessDays.Rule.ValueType,
        one_of(
            pb.Schedule.BusinessDays.Rule, "Move due dates to the next or previous business day."
        ),
    ] = pb.Schedule.BusinessDays.RULE_UNSPECIFIED
    holidays: Annotated[
        str,
        typer.Option(
            metavar="COUNTRY[-STATE]",
            help="The calendar of public holidays for --business-days, for example DE-BY.",
        ),
    ] = ""
    rrule: Annotated[
        str,
        typer.Option(
            metavar="RULE",
            help='An iCalendar rule, "DTSTART;TZID=…:… RRULE:…", instead of the options above.',
        ),
    ] = ""

    def given(self) -> bool:
        """Whether anything was said about the schedule."""
        return any(getattr(self, field.name) for field in fields(self))

    def check_complete(self) -> None:
        """Refuse what does not say when a new standing order falls due."""
        if self.rrule:
            return
        for name in ("every", "start", "zone"):
            if not getattr(self, name):
                raise typer.BadParameter(
                    "is needed: say --every, --start and --zone, or --rrule", param_hint=f"--{name}"
                )

    def changed(self, present: pb.Schedule) -> pb.Schedule:
        """A schedule with what was said about it; the rest is as in the present one."""
        schedule = pb.Schedule()
        schedule.CopyFrom(present)
        schedule.ClearField("rrule")
        if self.rrule:
            self._refuse_beside_rule()
            for name in _RULE_FIELDS:
                schedule.ClearField(name)
            schedule.rrule = parse_rule(self.rrule)
        elif self.every:
            schedule.MergeFrom(_without_recurrence(schedule, parse_recurrence(self.every, self.on)))
        elif self.on:
            raise typer.BadParameter("goes with --every", param_hint="--on")
        if self.count is not None and self.until is not None:
            raise typer.BadParameter("goes without --until: there is one end", param_hint="--count")
        self._take_fields(schedule)
        self._take_exceptions(schedule)
        return schedule

    def _refuse_beside_rule(self) -> None:
        for name in ("every", "on", "start", "zone", "at", "count", "until"):
            if getattr(self, name):
                raise typer.BadParameter(
                    "goes without --rrule, which says it", param_hint=f"--{name}"
                )

    def _take_fields(self, schedule: pb.Schedule) -> None:
        schedule.time_zone = self.zone or schedule.time_zone
        if self.at is not None:
            # Copied whole: a merge would keep the minutes of 09:30 for 10:00.
            schedule.local_time.CopyFrom(self.at)
        if self.start is not None:
            schedule.start_date.CopyFrom(self.start)
        if self.count is not None:
            schedule.cycle_count = self.count
        if self.until is not None:
            schedule.end_date.CopyFrom(self.until)

    def _take_exceptions(self, schedule: pb.Schedule) -> None:
        if self.blackouts:
            schedule.ClearField("blackouts")
            schedule.blackouts.extend(map(parse_blackout, self.blackouts))
        if self.blackout_rule:
            schedule.blackout_rule = self.blackout_rule
        if self.business_days:
            schedule.business_days.rule = self.business_days
        if self.holidays:
            schedule.business_days.country, schedule.business_days.subdivision = parse_holidays(
                self.holidays
            )


def parse_recurrence(every: str, on: str) -> pb.Schedule:
    """A schedule that has only its recurrence: `every` such as "2 weeks", `on` such as "mon,thu".

    `on` is weekdays for weeks, one by one or from one to another ("mon-fri"); days ("31", "1,15", "-1")
    or n-th weekdays ("2tue,-1fri") for months; a month and day ("12-24") for years; and empty for days.
    """
    match = _EVERY.fullmatch(every)
    if match is None:
        raise _wrong_every(f'{every!r} is not "month", "2 weeks", "10 days" or "year"')
    number, unit = int(match[1] or "1"), match[2]
    if not number:
        raise _wrong_every(f"{every!r}: the number must be at least 1")
    days = _split(on)
    if unit == "week":
        return pb.Schedule(weekly=pb.Schedule.Weekly(every_weeks=number, weekdays=_weekdays(days)))
    if unit == "month":
        return pb.Schedule(monthly=_monthly(number, days))
    if unit == "year":
        return pb.Schedule(yearly=_yearly(number, days))
    if days:
        raise _wrong_on(f"goes with weeks, months and years, not with {unit}s")
    return pb.Schedule(daily=pb.Schedule.Daily(every_days=number))


def parse_rule(text: str) -> str:
    """A rule of iCalendar; its two lines may be one, with a blank before "RRULE:"."""
    return _RULE_START.sub("\n", text.strip(), count=1)


def parse_blackout(text: str) -> pb.Schedule.Blackout:
    """Dates on which nothing falls due: one ("2026-12-24"), or from one to another, included."""
    first, separator, last = text.partition("..")
    start = parse_date(first)
    end = parse_date(last) if separator else start
    if from_date(end) < from_date(start):
        raise typer.BadParameter(f"{text!r} ends before it begins")
    return pb.Schedule.Blackout(start_date=start, end_date=end)


def parse_holidays(text: str) -> tuple[str, str]:
    """A country and its subdivision, such as "DE" or "DE-BY"; the service knows which there are."""
    match = _HOLIDAYS.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f'{text!r} is not a country\'s code such as "DE" or "DE-BY"', param_hint="--holidays"
        )
    return match[1], match[2] or ""


def describe_schedule(schedule: pb.Schedule) -> str:
    """A schedule in a few words, for example "every month on 31 at 09:00 Europe/Berlin"."""
    local_time = schedule.local_time
    at = f"at {local_time.hours:02}:{local_time.minutes:02} {schedule.time_zone}"
    match schedule.WhichOneof("recurrence"):
        case "daily":
            when = _every(schedule.daily.every_days, "day")
        case "weekly":
            names = map(_weekday_name, schedule.weekly.weekdays)
            when = _every(schedule.weekly.every_weeks, "week") + _on(names)
        case "monthly":
            days = map(str, schedule.monthly.month_days)
            nths = map(_nth_name, schedule.monthly.nth_weekdays)
            when = _every(schedule.monthly.every_months, "month") + _on([*days, *nths])
        case "yearly":
            yearly = schedule.yearly
            day = f"{yearly.month:02}-{yearly.month_day:02}" if yearly.month else ""
            when = _every(yearly.every_years, "year") + _on([day] if day else [])
        case _:
            when = "never"
    rest = "".join(f", {limit}" for limit in _limits(schedule))
    return f"{when} {at} from {format_date(schedule.start_date)}{rest}"


def _limits(schedule: pb.Schedule) -> Iterator[str]:
    if schedule.WhichOneof("end") == "cycle_count":
        yield f"{schedule.cycle_count} times"
    if schedule.WhichOneof("end") == "end_date":
        yield f"until {format_date(schedule.end_date)}"
    for blackout in schedule.blackouts:
        yield f"not {format_date(blackout.start_date)}..{format_date(blackout.end_date)}"
    if schedule.blackout_rule == pb.Schedule.MOVE_TO_NEXT_ALLOWED:
        yield "but the day after"
    if schedule.HasField("business_days"):
        days = schedule.business_days
        where = "-".join(filter(None, (days.country, days.subdivision)))
        rule = pb.Schedule.BusinessDays.Rule.Name(days.rule).lower()
        yield f"{rule} business day{' of ' if where else ''}{where}"


def _without_recurrence(schedule: pb.Schedule, recurrence: pb.Schedule) -> pb.Schedule:
    """The new recurrence, which replaces the present one of the same kind."""
    if kind := schedule.WhichOneof("recurrence"):
        schedule.ClearField(kind)
    return recurrence


def _wrong_every(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--every")


def _wrong_on(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--on")


def _split(on: str) -> list[str]:
    """The days of a list, each once; whether there are such days, the unit decides."""
    if not on:
        return []
    days = [day.strip().lower() for day in on.split(",")]
    if not all(days):
        raise _wrong_on(f"{on!r}: there is nothing between or beside two commas")
    return _each_once(days)


def _each_once(days: list[str]) -> list[str]:
    if repeated := sorted({day for day in days if days.count(day) > 1}):
        raise _wrong_on(f"{', '.join(repeated)}: say each day once")
    return days


def _monthly(number: int, days: list[str]) -> pb.Schedule.Monthly:
    monthly = pb.Schedule.Monthly(every_months=number)
    for day in days:
        if match := _NTH.fullmatch(day):
            place = pb.Schedule.NthWeekday(nth=int(match[1]), weekday=_weekday(match[2]))
            if place in monthly.nth_weekdays:
                raise _wrong_on(f"{day}: say each day once")
            monthly.nth_weekdays.append(place)
        else:
            month_day = _month_day(day)
            if month_day in monthly.month_days:
                raise _wrong_on(f"{day}: say each day once")
            monthly.month_days.append(month_day)
    return monthly


def _yearly(number: int, days: list[str]) -> pb.Schedule.Yearly:
    if not days:
        return pb.Schedule.Yearly(every_years=number)
    match = _DAY_OF_YEAR.fullmatch(days[0])
    if match is None or len(days) > 1 or not _is_a_day(int(match[1]), int(match[2])):
        raise _wrong_on(f'{", ".join(days)}: give one day of the year such as "12-24" (MM-DD)')
    return pb.Schedule.Yearly(every_years=number, month=int(match[1]), month_day=int(match[2]))


def _is_a_day(month: int, day: int) -> bool:
    try:
        date(_A_LEAP_YEAR, month, day)
    except ValueError:
        return False
    return True


def parse_weekdays(text: str) -> list[dayofweek_pb2.DayOfWeek]:
    """Weekdays, one by one or from one to another: "mon,thu" or "mon-fri"."""
    try:
        return _weekdays(text.split(","))
    except typer.BadParameter as error:
        # Under the name of the option that has them.
        raise typer.BadParameter(error.message) from None


def _weekdays(days: list[str]) -> list[dayofweek_pb2.DayOfWeek]:
    """Weekdays, and all from one to another, over the weekend too ("fri-mon")."""
    weekdays: list[dayofweek_pb2.DayOfWeek] = []
    for day in days:
        first, separator, last = day.partition("-")
        if not separator:
            weekdays.append(_weekday(day))
            continue
        start, end = _weekday(first), _weekday(last)
        if start == end:
            raise _wrong_on(f"{day}: from a weekday to another one")
        length = (end - start) % _DAYS_PER_WEEK + 1
        weekdays += [
            _WEEKDAYS_IN_ORDER[(start - 1 + turn) % _DAYS_PER_WEEK] for turn in range(length)
        ]
    _each_once([_weekday_name(day) for day in weekdays])
    return weekdays


def _weekday(text: str) -> dayofweek_pb2.DayOfWeek:
    if text not in _WEEKDAYS:
        raise _wrong_on(f"{text!r} is not a weekday such as mon or monday; give mon,thu or mon-fri")
    return _WEEKDAYS[text]


def _month_day(day: str) -> int:
    if _MONTH_DAY.fullmatch(day) and 1 <= abs(int(day)) <= _MONTH_DAY_LAST:
        return int(day)
    raise _wrong_on(f"{day!r} is not a day such as 31, 1,15 or -1 (the last), nor 2tue,-1fri")


def _weekday_name(day: dayofweek_pb2.DayOfWeek) -> str:
    name: str = dayofweek_pb2.DayOfWeek.Name(day)
    return name[:3].title()


def _nth_name(nth_weekday: pb.Schedule.NthWeekday) -> str:
    nth = nth_weekday.nth
    ordinal = _ORDINALS.get(nth) or (
        f"{nth}th" if nth > 0 else f"{_ORDINALS.get(-nth, f'{-nth}th')} last"
    )
    return f"{ordinal} {_weekday_name(nth_weekday.weekday)}"


def _every(number: int, unit: str) -> str:
    return f"every {unit}" if number == 1 else f"every {number} {unit}s"


def _on(days: Iterable[str]) -> str:
    joined = ", ".join(days)
    return f" on {joined}" if joined else ""
