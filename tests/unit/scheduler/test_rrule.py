"""Schedules as iCalendar text, and what of iCalendar is refused."""

from dataclasses import replace
from datetime import date, time
from itertools import islice

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, example, given
from hypothesis import strategies as st
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Violations
from services.runtime.rpc.conversions import to_date
from services.scheduler.api.requests.schedules import read_schedule
from services.scheduler.domain.calendar import cycle_count, same_dates
from services.scheduler.domain.rrule import from_rrule, to_rrule
from services.scheduler.domain.rrule_text import MAX_RRULE_CHARACTERS
from services.scheduler.domain.schedule import (
    LAST_DATE,
    BlackoutRule,
    BusinessDayRule,
    BusinessDays,
    Daily,
    DateRange,
    EndAfter,
    EndOn,
    Monthly,
    NthWeekday,
    Recurrence,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)
from services.scheduler.domain.validation import Violation, violations
from tests.unit.scheduler.strategies import adjusted, cycles, plain

COMPARED_CYCLES = 30
START = "DTSTART;TZID=Europe/Berlin:20250131T090000"
MONDAY, TUESDAY, FRIDAY = Weekday.MONDAY, Weekday.TUESDAY, Weekday.FRIDAY

_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
# The first cycle, on Sunday the 31st, moves back to the 29th: after the start, before its first date.
_PREVIOUS = Schedule(
    date(2027, 1, 20),
    time(9),
    "Europe/Berlin",
    Monthly(1, (31,)),
    business_days=BusinessDays(BusinessDayRule.PREVIOUS),
)

WRITTEN = [
    (Daily(10), "FREQ=DAILY;INTERVAL=10"),
    (Weekly(2, (FRIDAY, MONDAY)), "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR"),
    (Weekly(), "FREQ=WEEKLY;BYDAY=FR"),
    (Monthly(1, (31,)), "FREQ=MONTHLY;BYMONTHDAY=31;RSCALE=GREGORIAN;SKIP=BACKWARD"),
    (
        Monthly(3, (31, -1)),
        "FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=-1,31;RSCALE=GREGORIAN;SKIP=BACKWARD",
    ),
    (Monthly(1, (-1,)), "FREQ=MONTHLY;BYMONTHDAY=-1"),
    (Monthly(1, (), (NthWeekday(-1, FRIDAY),)), "FREQ=MONTHLY;BYDAY=-1FR"),
    (Yearly(), "FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=31"),
]


def read(rule: str, start: str = START) -> Schedule | Violation:
    return from_rrule(f"{start}\nRRULE:{rule}")


@pytest.mark.parametrize(("recurrence", "rule"), WRITTEN)
def test_a_recurrence_is_written_as_its_rule(recurrence: Recurrence, rule: str) -> None:
    schedule = Schedule(date(2025, 1, 31), time(9), "Europe/Berlin", recurrence)
    assert to_rrule(schedule) == f"{START}\nRRULE:{rule}"


def test_the_start_is_the_first_date_even_where_the_start_date_is_earlier() -> None:
    schedule = Schedule(date(2025, 1, 20), time(9), "UTC", Monthly(2, (15,)))
    assert to_rrule(schedule).startswith("DTSTART:20250315T090000Z\n")


def test_the_end_date_is_written_as_its_due_time() -> None:
    end = EndOn(date(2025, 7, 1))
    schedule = Schedule(date(2025, 1, 31), time(9), "Europe/Berlin", Daily(), end)
    assert to_rrule(schedule).endswith("FREQ=DAILY;UNTIL=20250701T070000Z")


def test_a_leap_day_is_written_with_what_other_years_do() -> None:
    schedule = Schedule(date(2024, 2, 29), time(9), "UTC", Yearly())
    assert to_rrule(schedule).endswith(
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;RSCALE=GREGORIAN;SKIP=BACKWARD"
    )


def test_a_schedule_without_a_date_cannot_be_written() -> None:
    end = EndOn(date(2025, 2, 1))
    schedule = Schedule(date(2025, 1, 31), time(9), "UTC", Monthly(1, (15,)), end)
    with pytest.raises(ValueError, match="without a date"):
        to_rrule(schedule)


@given(plain())
@example(Schedule(date(2024, 2, 29), time(9), "UTC", Yearly(), EndOn(date(2100, 12, 31))))
@example(
    Schedule(date(2099, 1, 1), time(23), "America/New_York", Daily(), EndOn(date(2100, 12, 31)))
)
def test_what_is_written_reads_back_as_the_same_cycles(schedule: Schedule) -> None:
    assume(_can_be_written(schedule))
    read_back = from_rrule(to_rrule(schedule))
    assert isinstance(read_back, Schedule)
    assert cycles(read_back, 0, COMPARED_CYCLES) == cycles(schedule, 0, COMPARED_CYCLES)


@given(plain())
def test_what_is_read_is_written_as_the_same_text(schedule: Schedule) -> None:
    assume(_can_be_written(schedule))
    text = to_rrule(schedule)
    read_back = from_rrule(text)
    assert isinstance(read_back, Schedule)
    assert to_rrule(read_back) == text


@given(plain())
def test_another_implementation_finds_the_same_instants(schedule: Schedule) -> None:
    """python-dateutil has no SKIP, so rules that need it are left out, and zones of its own."""
    in_utc = replace(schedule, time_zone="UTC")
    assume(_can_be_written(in_utc))
    text = to_rrule(in_utc)
    assume("SKIP" not in text)
    theirs = islice(rrulestr(text), COMPARED_CYCLES)
    expected = [instant for instant in theirs if instant.date() <= LAST_DATE]
    assert [cycle.due_at for cycle in cycles(in_utc, 0, COMPARED_CYCLES)] == expected


READ = [
    ("FREQ=DAILY", Daily()),
    ("freq=daily;interval=2", Daily(2)),
    ("FREQ=WEEKLY;BYDAY=MO,FR", Weekly(1, (MONDAY, FRIDAY))),
    ("FREQ=WEEKLY;WKST=SU;BYDAY=MO", Weekly(1, (MONDAY,))),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=MO", Weekly(2)),
    # As Google and Outlook write it; the start is a Friday.
    ("FREQ=WEEKLY;WKST=SU;INTERVAL=2", Weekly(2)),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=MO,FR", Weekly(2, (MONDAY, FRIDAY))),
    ("FREQ=MONTHLY;BYDAY=+2TU;WKST=SU", Monthly(1, (), (NthWeekday(2, TUESDAY),))),
    ("FREQ=MONTHLY;BYMONTHDAY=1,-1", Monthly(1, (1, -1))),
    (
        "FREQ=MONTHLY;BYDAY=2TU,-1FR",
        Monthly(1, (), (NthWeekday(2, TUESDAY), NthWeekday(-1, FRIDAY))),
    ),
    ("RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=BACKWARD", Monthly(1, (31,))),
    ("RSCALE=GREGORIAN;FREQ=MONTHLY;BYMONTHDAY=28;SKIP=FORWARD", Monthly(1, (28,))),
    ("FREQ=YEARLY", Yearly(1, 1, 31)),
    ("FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=30", Yearly(1, 4, 30)),
]


@pytest.mark.parametrize(("rule", "recurrence"), READ)
def test_a_rule_is_read_as_its_recurrence(rule: str, recurrence: Recurrence) -> None:
    assert read(rule) == Schedule(date(2025, 1, 31), time(9), "Europe/Berlin", recurrence)


ENDS = [
    ("COUNT=3", EndAfter(3)),
    ("UNTIL=20250701T070000Z", EndOn(date(2025, 7, 1))),
    ("UNTIL=20250701T065959Z", EndOn(date(2025, 6, 30))),
    ("UNTIL=20250630T230000Z", EndOn(date(2025, 6, 30))),
]


@pytest.mark.parametrize(("part", "end"), ENDS)
def test_an_end_is_read(part: str, end: EndAfter | EndOn) -> None:
    schedule = read(f"FREQ=DAILY;{part}")
    assert isinstance(schedule, Schedule)
    assert schedule.end == end


def test_folded_lines_are_unfolded() -> None:
    schedule = from_rrule(f"{START}\r\nRRULE:FREQ=DAI\r\n LY;COUNT=3\r\n")
    assert isinstance(schedule, Schedule)
    assert schedule.end == EndAfter(3)


def test_what_a_rule_cannot_say_is_given_beside_it() -> None:
    first, last = date(2025, 5, 1), date(2025, 5, 3)
    message = scheduler_pb2.Schedule(
        rrule=f"{START}\nRRULE:FREQ=DAILY",
        blackouts=[
            scheduler_pb2.Schedule.Blackout(start_date=to_date(first), end_date=to_date(last))
        ],
        blackout_rule=scheduler_pb2.Schedule.MOVE_TO_NEXT_ALLOWED,
    )
    schedule_ = read_schedule(Violations(), "schedule", message, None, None)
    plain_one = read("FREQ=DAILY")
    assert isinstance(plain_one, Schedule)
    assert schedule_ == replace(
        plain_one,
        blackouts=(DateRange(first, last),),
        blackout_rule=BlackoutRule.MOVE_TO_NEXT_ALLOWED,
    )


REFUSED_RULES = [
    ("FREQ=HOURLY", "MORE_OFTEN_THAN_DAILY"),
    ("FREQ=SECONDLY", "MORE_OFTEN_THAN_DAILY"),
    ("FREQ=DAILY;BYHOUR=9,17", "MORE_OFTEN_THAN_DAILY"),
    ("FREQ=DAILY;BYHOUR=9", "RRULE_UNSUPPORTED"),
    ("FREQ=DAILY;BYDAY=MO", "RRULE_UNSUPPORTED"),
    ("FREQ=DAILY;BYMONTH=1", "RRULE_UNSUPPORTED"),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SU,MO", "RRULE_UNSUPPORTED"),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=QQ", "RRULE_MALFORMED"),
    ("FREQ=DAILY;WKST=QQ", "RRULE_MALFORMED"),
    ("FREQ=DAILY;WKST=1MO", "RRULE_MALFORMED"),
    ("FREQ=YEARLY;BYMONTH=0", "RRULE_MALFORMED"),
    ("FREQ=YEARLY;BYMONTH=13", "RRULE_MALFORMED"),
    ("FREQ=YEARLY;BYMONTH=+1", "RRULE_MALFORMED"),
    ("FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=0", "RRULE_MALFORMED"),
    ("FREQ=MONTHLY;BYMONTHDAY=0", "RRULE_MALFORMED"),
    ("FREQ=MONTHLY;BYMONTHDAY=32", "RRULE_MALFORMED"),
    ("FREQ=MONTHLY;BYMONTHDAY=1,", "RRULE_MALFORMED"),
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1", "RRULE_UNSUPPORTED"),
    ("FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=1,2", "RRULE_UNSUPPORTED"),
    ("FREQ=MONTHLY;BYDAY=0FR", "RRULE_MALFORMED"),
    ("FREQ=DAILY;BYDAY=XX", "RRULE_MALFORMED"),
    ("FREQ=DAILY;BYHOUR=24", "RRULE_MALFORMED"),
    ("FREQ=DAILY;BYSETPOS=0", "RRULE_MALFORMED"),
    ("FREQ=DAILY;INTERVAL=+2", "RRULE_MALFORMED"),
    ("FREQ=DAILY;INTERVAL=-1", "RRULE_MALFORMED"),
    ("FREQ=DAILY;COUNT=+3", "RRULE_MALFORMED"),
    ("FREQ=DAILY;BYDAY=", "RRULE_MALFORMED"),
    ("FREQ=DAILY;", "RRULE_MALFORMED"),
    (";FREQ=DAILY", "RRULE_MALFORMED"),
    ("FREQ=DAILY;;COUNT=3", "RRULE_MALFORMED"),
    ("FREQ=DAILY; COUNT=3", "RRULE_MALFORMED"),
    ("FREQ =DAILY", "RRULE_MALFORMED"),
    ("FREQ=DAILY;COUNT=3 ", "RRULE_MALFORMED"),
    ("FREQ=DAILY;ONCE=1", "RRULE_MALFORMED"),
    ("FREQ=DA\u0131LY", "RRULE_MALFORMED"),  # a dotless i
    ("FREQ=DAILY;\u0421OUNT=3", "RRULE_MALFORMED"),  # a Cyrillic C
    ("FREQ=WEEKLY;BYDAY=\u017fU", "RRULE_MALFORMED"),  # a long s
    ("FREQ=WEEKLY;BYDAY=\uff2d\uff2f", "RRULE_MALFORMED"),  # full width
    ("FREQ=WEEKLY;BYDAY=1MO", "RRULE_MALFORMED"),
    ("FREQ=MONTHLY", "RRULE_UNSUPPORTED"),  # the 31st, without SKIP=BACKWARD
    ("FREQ=MONTHLY;BYMONTHDAY=29", "RRULE_UNSUPPORTED"),
    ("RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD", "RRULE_UNSUPPORTED"),
    ("RSCALE=HEBREW;FREQ=DAILY", "RRULE_UNSUPPORTED"),
    ("FREQ=MONTHLY;SKIP=BACKWARD", "RRULE_MALFORMED"),
    ("RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=SIDEWAYS", "RRULE_MALFORMED"),
    ("FREQ=MONTHLY;BYDAY=FR", "RRULE_UNSUPPORTED"),
    ("FREQ=MONTHLY;BYDAY=1FR;BYMONTHDAY=13", "RRULE_UNSUPPORTED"),
    ("FREQ=MONTHLY;BYDAY=-1FR;BYSETPOS=1", "RRULE_UNSUPPORTED"),
    ("FREQ=MONTHLY;BYDAY=1XX", "RRULE_MALFORMED"),
    ("FREQ=MONTHLY;BYDAY=6FR", "NO_SUCH_DATE"),
    ("FREQ=MONTHLY;BYMONTHDAY=-31", "NO_SUCH_DATE"),
    ("FREQ=YEARLY;BYMONTHDAY=1", "RRULE_UNSUPPORTED"),
    ("FREQ=YEARLY;BYMONTH=1,2;BYMONTHDAY=1", "RRULE_UNSUPPORTED"),
    ("FREQ=YEARLY;BYMONTH=5;BYDAY=2SU", "RRULE_UNSUPPORTED"),
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "RRULE_UNSUPPORTED"),
    ("RSCALE=GREGORIAN;FREQ=YEARLY;BYMONTH=2;SKIP=BACKWARD", "NO_SUCH_DATE"),  # the 31st
    ("FREQ=YEARLY;BYYEARDAY=1", "RRULE_UNSUPPORTED"),
    ("FREQ=YEARLY;BYWEEKNO=1", "RRULE_UNSUPPORTED"),
    ("FREQ=DAILY;COUNT=3;UNTIL=20250701T090000Z", "RRULE_MALFORMED"),
    ("FREQ=DAILY;UNTIL=20250701", "RRULE_MALFORMED"),
    ("FREQ=DAILY;COUNT=0", "OUT_OF_RANGE"),
    ("FREQ=DAILY;COUNT=many", "RRULE_MALFORMED"),
    ("FREQ=DAILY;COUNT=٣", "RRULE_MALFORMED"),
    ("FREQ=DAILY;INTERVAL=0", "OUT_OF_RANGE"),
    ("FREQ=DAILY;INTERVAL=99999999999999999999", "RRULE_MALFORMED"),
    ("FREQ=DAILY;UNTIL=99991231T235959Z", "OUT_OF_RANGE"),
    ("FREQ=DAILY;UNTIL=20250701T090000", "RRULE_MALFORMED"),
    ("FREQ=DAILY;UNTIL=20250230", "RRULE_MALFORMED"),
    ("FREQ=DAILY;UNTIL=20240101T090000Z", "END_BEFORE_START"),
    ("FREQ=DAILY;FREQ=DAILY", "RRULE_MALFORMED"),
    ("FREQ=", "RRULE_MALFORMED"),
    ("FREQ=FORTNIGHTLY", "RRULE_MALFORMED"),
    ("", "RRULE_MALFORMED"),
    ("FREQ=DAILY;X-EXTRA=1", "RRULE_UNSUPPORTED"),
]


@pytest.mark.parametrize(("rule", "reason"), REFUSED_RULES)
def test_what_a_schedule_cannot_say_is_refused(rule: str, reason: str) -> None:
    schedule = read(rule)
    assert isinstance(schedule, Violation)
    assert (schedule.field, schedule.reason) == ("rrule", reason)


REFUSED_TEXTS = [
    ("", "RRULE_MALFORMED"),
    ("RRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    (START, "RRULE_MALFORMED"),
    (f"{START}\n{START}\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    (f"{START}\nRRULE", "RRULE_MALFORMED"),
    (f"{START}\nRRULE:FREQ=DAILY\nEXDATE:20250201T090000Z", "RRULE_UNSUPPORTED"),
    ("DTSTART:20250131T090000\nRRULE:FREQ=DAILY", "RRULE_UNSUPPORTED"),
    ("DTSTART;VALUE=DATE:20250131\nRRULE:FREQ=DAILY", "RRULE_UNSUPPORTED"),
    ("DTSTART:20250131\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    ("DTSTART;VALUE=DATE:20250131T090000Z\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    ("DTSTART;TZID=Europe/Berlin:20250131T090000Z\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    ('DTSTART;TZID="Europe/Berlin:20250131T090000\nRRULE:FREQ=DAILY', "RRULE_MALFORMED"),
    ("DTSTART;TZID=UTC;TZID=UTC:20250131T090000\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    ("DTSTART;:20250131T090000Z\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    ("DTSTART;X-A=1:20250131T090000Z\nRRULE:FREQ=DAILY", "RRULE_UNSUPPORTED"),
    (f"{START}\nRRULE;X-A=1:FREQ=DAILY", "RRULE_UNSUPPORTED"),
    (f"{START}\n\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    (f" {START}\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    ("DTSTART;TZID=Mars/Base:20250131T090000\nRRULE:FREQ=DAILY", "TIME_ZONE_UNKNOWN"),
    ("DTSTART:20251331T090000Z\nRRULE:FREQ=DAILY", "RRULE_MALFORMED"),
    ("DTSTART:20250131T090030Z\nRRULE:FREQ=DAILY", "NOT_A_WHOLE_MINUTE"),
    ("DTSTART:19000131T090000Z\nRRULE:FREQ=DAILY", "OUT_OF_RANGE"),
    ("x" * (MAX_RRULE_CHARACTERS + 1), "RRULE_MALFORMED"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED_TEXTS)
def test_a_text_that_is_no_start_and_rule_is_refused(text: str, reason: str) -> None:
    schedule = from_rrule(text)
    assert isinstance(schedule, Violation)
    assert schedule.reason == reason


def test_a_rule_that_is_valid_and_not_supported_is_called_so_by_its_part() -> None:
    schedule = read("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO")
    assert isinstance(schedule, Violation)
    assert schedule.message.startswith("BYWEEKNO, BYDAY is valid but not supported: ")


def test_quotes_around_a_zone_are_no_part_of_it() -> None:
    quoted = 'DTSTART;TZID="Europe/Berlin":20250131T090000'
    assert read("FREQ=DAILY", quoted) == read("FREQ=DAILY")


@given(
    st.dates(date(2025, 1, 1), date(2025, 12, 31)),
    st.integers(1, 5),
    st.sampled_from(_CODES),
    st.lists(st.sampled_from(_CODES), max_size=4, unique=True),
)
def test_weeks_that_begin_on_another_day_are_read_as_another_implementation_does(
    start: date, every: int, week_start: str, codes: list[str]
) -> None:
    by_day = f";BYDAY={','.join(codes)}" if codes else ""
    text = (
        f"DTSTART:{start:%Y%m%d}T090000Z\n"
        f"RRULE:FREQ=WEEKLY;INTERVAL={every};WKST={week_start}{by_day}"
    )
    schedule = from_rrule(text)
    if isinstance(schedule, Violation):
        assert (schedule.reason, len(codes) > 1) == ("RRULE_UNSUPPORTED", True)
        return
    theirs = list(islice(rrulestr(text), COMPARED_CYCLES))
    assert [cycle.due_at for cycle in cycles(schedule, 0, COMPARED_CYCLES)] == theirs


@given(adjusted())
@example(_PREVIOUS)
def test_what_is_shown_given_back_is_the_same_schedule(schedule: Schedule) -> None:
    assume(violations(schedule, None) == ())
    rule = from_rrule(to_rrule(schedule))
    assert isinstance(rule, Schedule)
    read_back = replace(
        rule,
        blackouts=schedule.blackouts,
        blackout_rule=schedule.blackout_rule,
        business_days=schedule.business_days,
    )
    assert cycles(read_back, 0, COMPARED_CYCLES) == cycles(schedule, 0, COMPARED_CYCLES)
    assert same_dates(read_back, schedule)


def test_a_refusal_says_how_to_mend_it() -> None:
    schedule = read("FREQ=MONTHLY")
    assert isinstance(schedule, Violation)
    assert schedule.message.endswith("add RSCALE=GREGORIAN;SKIP=BACKWARD")


_names = ["FREQ=DAILY", "FREQ=MONTHLY", "FREQ=YEARLY", "COUNT=", "UNTIL=", "BYDAY=", "BYMONTH="]
_values = ["BYMONTHDAY=", "20250101", "T000000Z", "MO", "-1", "31", ",", ";", ":", "=", "\n", " "]
_pieces = st.sampled_from([*_names, *_values, START, "RRULE:"])


@given(st.lists(_pieces | st.text(max_size=3), max_size=15).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert isinstance(from_rrule(text), Schedule | Violation)


@given(st.lists(_pieces | st.text(max_size=3), max_size=10).map("".join))
def test_any_rule_is_read_or_refused(rule: str) -> None:
    assert isinstance(read(rule), Schedule | Violation)


def _can_be_written(schedule: Schedule) -> bool:
    """Whether it has dates at all, and as many as it promises."""
    promised = schedule.end.cycle_count if isinstance(schedule.end, EndAfter) else 1
    return cycle_count(schedule) >= promised
