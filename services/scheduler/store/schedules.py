"""A schedule as the JSON text in its column, and back."""

import json
from datetime import date, time
from typing import Any

from services.scheduler.domain.schedule import (
    BlackoutRule,
    BusinessDayRule,
    BusinessDays,
    Daily,
    DateRange,
    End,
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
from services.scheduler.store.remembered import remembered


def dump(schedule: Schedule) -> str:
    """The schedule as JSON."""
    return json.dumps(
        {
            "start_date": schedule.start_date.isoformat(),
            "local_time": schedule.local_time.isoformat("minutes"),
            "time_zone": schedule.time_zone,
            "recurrence": _dump_recurrence(schedule.recurrence),
            "end": _dump_end(schedule.end),
            "blackouts": [
                [one.start_date.isoformat(), one.end_date.isoformat()] for one in schedule.blackouts
            ],
            "blackout_rule": schedule.blackout_rule,
            "business_days": {
                "rule": schedule.business_days.rule,
                "country": schedule.business_days.country,
                "subdivision": schedule.business_days.subdivision,
            },
        }
    )


@remembered
def load(text: str) -> Schedule:
    """The schedule that `dump` wrote."""
    data = json.loads(text)
    business_days = data["business_days"]
    return Schedule(
        start_date=date.fromisoformat(data["start_date"]),
        local_time=time.fromisoformat(data["local_time"]),
        time_zone=data["time_zone"],
        recurrence=_load_recurrence(data["recurrence"]),
        end=_load_end(data["end"]),
        blackouts=tuple(
            DateRange(date.fromisoformat(first), date.fromisoformat(last))
            for first, last in data["blackouts"]
        ),
        blackout_rule=BlackoutRule(data["blackout_rule"]),
        business_days=BusinessDays(
            BusinessDayRule(business_days["rule"]),
            business_days["country"],
            business_days["subdivision"],
        ),
    )


def _dump_recurrence(recurrence: Recurrence) -> dict[str, Any]:
    match recurrence:
        case Daily(every_days):
            return {"daily": {"every_days": every_days}}
        case Weekly(every_weeks, weekdays):
            return {"weekly": {"every_weeks": every_weeks, "weekdays": [int(w) for w in weekdays]}}
        case Monthly(every_months, month_days, nth_weekdays):
            return {
                "monthly": {
                    "every_months": every_months,
                    "month_days": list(month_days),
                    "nth_weekdays": [[one.nth, int(one.weekday)] for one in nth_weekdays],
                }
            }
        case Yearly(every_years, month, month_day):
            return {"yearly": {"every_years": every_years, "month": month, "month_day": month_day}}


def _load_recurrence(data: dict[str, Any]) -> Recurrence:
    ((kind, values),) = data.items()
    match kind:
        case "daily":
            return Daily(values["every_days"])
        case "weekly":
            return Weekly(values["every_weeks"], tuple(Weekday(w) for w in values["weekdays"]))
        case "monthly":
            return Monthly(
                values["every_months"],
                tuple(values["month_days"]),
                tuple(NthWeekday(nth, Weekday(day)) for nth, day in values["nth_weekdays"]),
            )
        case "yearly":
            return Yearly(values["every_years"], values["month"], values["month_day"])
    raise ValueError(kind)


def _dump_end(end: End | None) -> dict[str, Any] | None:
    match end:
        case EndAfter(cycle_count):
            return {"cycle_count": cycle_count}
        case EndOn(end_date):
            return {"end_date": end_date.isoformat()}
        case None:
            return None


def _load_end(data: dict[str, Any] | None) -> End | None:
    if data is None:
        return None
    if "cycle_count" in data:
        return EndAfter(data["cycle_count"])
    return EndOn(date.fromisoformat(data["end_date"]))
