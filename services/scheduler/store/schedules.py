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
from services.scheduler.store.cached import cached

_KINDS: dict[str, type[Recurrence]] = {
    "daily": Daily,
    "weekly": Weekly,
    "monthly": Monthly,
    "yearly": Yearly,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def dump(schedule: Schedule) -> str:
    """The schedule as JSON, its fields as on the wire."""
    recurrence = {_NAMES[type(schedule.recurrence)]: schedule.recurrence}
    return json.dumps({**_plain(schedule), "recurrence": recurrence}, default=_plain)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a date or a time as text, a dataclass as its fields
    if isinstance(value, date | time):
        return value.isoformat()
    return {name: getattr(value, name) for name in value.__slots__}


@cached
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
            DateRange(*map(date.fromisoformat, blackout.values())) for blackout in data["blackouts"]
        ),
        blackout_rule=BlackoutRule(data["blackout_rule"]),
        business_days=BusinessDays(
            BusinessDayRule(business_days["rule"]),
            business_days["country"],
            business_days["subdivision"],
        ),
    )


def _load_recurrence(data: dict[str, Any]) -> Recurrence:
    ((kind, fields),) = data.items()
    if kind == "weekly":
        fields["weekdays"] = tuple(map(Weekday, fields["weekdays"]))
    elif kind == "monthly":
        fields["month_days"] = tuple(fields["month_days"])
        fields["nth_weekdays"] = tuple(
            NthWeekday(nth, Weekday(weekday)) for nth, weekday in fields["nth_weekdays"]
        )
    return _KINDS[kind](**fields)


def _load_end(data: dict[str, Any] | None) -> End | None:
    if data is None:
        return None
    if "cycle_count" in data:
        return EndAfter(data["cycle_count"])
    return EndOn(date.fromisoformat(data["end_date"]))
