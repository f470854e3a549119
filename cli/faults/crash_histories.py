"""Histories that reach every crash point, one for each point and way to go on."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from cli.faults.crashes import POINTS, After, fault_name
from cli.faults.history import History, Step

_NOBODY = {
    "ceiling_minor": 100_000, "month_ceiling_minor": 0, "valid_days": 0, "phone": "ordinary",
}  # fmt: skip
_DAILY = {
    "first_days": 2, "time": "12:00", "zone": "UTC", "rule": "daily", "every": 2, "count": 0,
    "business_days": "",
}  # fmt: skip
_ORDER = {
    "items": {"beans": 1}, "schedule": _DAILY, "lead_hours": 24, "window_hours": 24,
    "catch_up": "", "protection": "", "condition": "", "otherwise": "SKIP",
}  # fmt: skip
_ACT = {
    "customer": 2, "order": 0, "product": "tea", "number": 3, "word": "GO_ON", "schedule": _DAILY,
    "twice": False,
}  # fmt: skip
# As if for ever: a history is over before.
_STEPS_MAX = 1000


def crash_history(number: int, faults: Sequence[str]) -> History:
    """A history in which these faults are made at its beginning, and stay."""
    made: list[Step] = [
        {
            "fault": name,
            "nth": 1,
            "for_steps": _STEPS_MAX,
            "must_come": True,
        }
        for name in faults
    ]
    pays = {"act": "confirm", **_ACT}
    return History(
        number,
        {"month": 6, "day": 1, "hour": 6},
        [
            {"id": "tea", "price_minor": 420},
            {"id": "coffee", "price_minor": 1290},
            {"id": "beans", "price_minor": 800, "stock_units": 50},
        ],
        [
            {"card": "pm_sandbox_timeoutAfterCharge", **_NOBODY},
            {"card": "pm_sandbox_timeoutBeforeCharge", **_NOBODY},
            {"card": "pm_card_visa", **_NOBODY, "phone": "receipt later"},
        ],
        [
            {"customer": 0, "mode": "AUTOMATIC", **_ORDER},
            {"customer": 1, "mode": "AUTOMATIC", **_ORDER},
            {"customer": 2, "mode": "PAY_ON_NOTICE", **_ORDER},
        ],
        (*made, *_days(pays)),
        "some",
    )


def _days(pays: dict[str, Any]) -> Iterator[Step]:
    """Each service is called, and each kind of due work falls due."""
    yield {"act": "restock", **_ACT}
    yield {"act": "price", **_ACT}
    yield {"act": "quantity", **_ACT, "product": "beans", "number": 1}
    # Two days on it is noon and more: the first cycle is due.
    yield {"advance_hours": 56}
    yield pays
    yield {"advance_hours": 3}
    yield {"act": "refund", **_ACT}
    yield {"act": "mandate", **_ACT}
    yield {"act": "rebind", **_ACT}
    # The second request to pay is left to expire.
    yield {"advance_hours": 80}
    yield pays


def crash_histories() -> Iterator[History]:
    """A history for every point and every way to go on."""
    every = [row for after in After for row in rows(after)]
    return (crash_history(number, row) for number, row in enumerate(every, 1))


def rows(after: After) -> list[tuple[str, ...]]:
    """All points for one way to go on: one of each service at once, since most of a row is waiting."""
    columns = [
        [fault_name(after, service, point) for point in points]
        for service, points in POINTS.items()
    ]
    return [tuple(name for name in row if name) for row in zip_longest(*columns)]
