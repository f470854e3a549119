"""Histories that reach every crash point, one for each point and way to go on."""

from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from cli.faults.crashes import POINTS, After, fault_name
from cli.faults.databases import HOLDS_RUN_OUT
from cli.faults.history import History, Step
from cli.faults.shop import EXPIRING_CARD

_NOBODY = {
    "ceiling_minor": 100_000, "month_ceiling_minor": 0, "valid_days": 0, "phone": "ordinary",
}  # fmt: skip
_DAILY = {
    "first_days": 2, "time": "12:00", "zone": "UTC", "rule": "daily", "every": 2, "count": 0,
    "business_days": "",
}  # fmt: skip
_ORDER = {
    # Requests to pay last longer than a reminder comes before their end.
    "items": {"beans": 1}, "schedule": _DAILY, "lead_hours": 24, "window_hours": 30,
    "catch_up": "", "protection": "", "condition": "", "otherwise": "SKIP",
}  # fmt: skip
_ACT = {
    "customer": 2, "order": 0, "product": "tea", "number": 3, "word": "GO_ON", "schedule": _DAILY,
    "twice": False,
}  # fmt: skip
_START = {"month": 6, "day": 1, "hour": 6}
# The month ends in the midst of the history.
_LATE_START = {"month": 6, "day": 27, "hour": 6}
# As if for ever: a history is over before.
_STEPS_MAX = 1000
# What most cycles have none of.
RARE_POINTS = frozenset({
    *("catalog.holds_expired", "catalog.backorders_served", "catalog.bookings_expired"),
    *("scheduler.pauses_ended", "scheduler.leads_found", "scheduler.leads_committed"),
    *("scheduler.discontinuation_decided", "scheduler.discontinuation_committed"),
    *("scheduler.protection_endings_committed", "scheduler.price_change_walked"),
    *("scheduler.price_notices_decided", "scheduler.price_notices_committed"),
    *("scheduler.promotion_endings_found", "scheduler.promotion_endings_committed"),
    *("payments.expiry_answered", "payments.expiry_settled", "payments.disputes_found"),
    *("payments.disputes_settled", "payments.dispute_responses_answered"),
    *("payments.dispute_responses_settled", "notify.receipts_answered"),
    *("notify.receipts_committed", "notify.replies_decided", "notify.replies_acted"),
    *("notify.replies_finished", "notify.phones_changed", "notify.silent_phones_lapsed"),
    "notify.deliveries_held",
})  # fmt: skip


def crash_history(number: int, faults: Sequence[str]) -> History:
    """A history in which these faults are made at its beginning, and stay."""
    pays = {"act": "confirm", **_ACT}
    return History(
        number,
        _LATE_START,
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
        (*_made(faults), *_days(pays)),
        "some",
    )


def rare_history(number: int, faults: Sequence[str]) -> History:
    """A history of what most cycles have none of, in which these faults are made at its beginning."""
    few = {**_DAILY, "count": 5}
    # Protected, and promoted, for longer than its customer is notified ahead of the end.
    every_8_days = {**_DAILY, "first_days": 3, "every": 8, "count": 5}
    once = {**_DAILY, "count": 1}
    return History(
        number,
        _START,
        [
            {"id": "tea", "price_minor": 420},
            {"id": "coffee", "price_minor": 1290},
            # One unit, which is gone while an order waits to be paid.
            {"id": "beans", "price_minor": 800, "stock_units": 1},
            {"id": "visit", "price_minor": 700, "slots": 2},
        ],
        [
            {"card": "pm_card_createDispute", **_NOBODY},
            {"card": EXPIRING_CARD, **_NOBODY},
            {"card": "pm_card_visa", **_NOBODY, "phone": "receipt later"},
        ],
        [
            {"customer": 0, "mode": "AUTOMATIC", **_ORDER, "items": {"tea": 1}, "schedule": few},
            {"customer": 1, "mode": "AUTOMATIC", **_ORDER, "items": {"tea": 1, "coffee": 1},
             "schedule": few},
            {"customer": 2, "mode": "PAY_ON_NOTICE", **_ORDER, "items": {"beans": 1, "visit": 1},
             "schedule": once},
            {"customer": 0, "mode": "AUTOMATIC", **_ORDER, "items": {"tea": 1},
             "schedule": every_8_days, "protection": "lock", "promoted_cycles": 2},
        ],
        (*_made(faults), *_rare_days(), *_silent_month(faults)),
        "some",
        # So few that a message has to wait, where that is what is tried.
        daily_message_max=int(any("deliveries_held" in name for name in faults)),
    )  # fmt: skip


def _made(faults: Sequence[str]) -> Iterator[Step]:
    for name in faults:
        yield {"fault": name, "nth": 1, "for_steps": _STEPS_MAX, "must_come": True}


def _days(pays: dict[str, Any]) -> Iterator[Step]:
    """Each service is called, and each kind of due work falls due that all cycles have."""
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
    # The second request to pay is left to expire, and June is summed up.
    yield {"advance_hours": 80}
    yield pays


def _rare_days() -> Iterator[Step]:
    """Each kind of due work falls due that few cycles have."""
    # Receipts come after the gateway was asked.
    late = {"fault": "provider: webhooks_late_seconds", "nth": 1}
    yield {**late, "for_steps": _STEPS_MAX}
    # Of 20 hours.
    yield {"act": "hold_off", **_ACT, "number": 1}
    yield {"act": "price", **_ACT}
    # Without the code of the phone before, the new one waits.
    yield {"act": "rebind", **_ACT, "customer": 1, "number": 1}
    yield {"advance_hours": 32}
    # Announced a day before.
    yield {"act": "reply", **_ACT, "customer": 0, "number": 1}
    yield {"act": "amend", **_ACT, "customer": 1, "number": 2}
    yield {"advance_hours": 24}
    # The order of beans and a visit is due since two hours.
    yield {"fault": HOLDS_RUN_OUT, "nth": 1, "for_steps": 1}
    yield {"advance_hours": 1}
    yield {"act": "restock", **_ACT, "number": 1}
    yield {"act": "confirm", **_ACT}
    yield {"advance_hours": 1}
    yield {"act": "restock", **_ACT, "number": 2}
    # The second cycle of tea is charged, and disputed.
    yield {"advance_hours": 52}
    yield {"act": "answer_dispute", **_ACT}
    yield {"act": "discontinue", **_ACT, "product": "coffee", "number": 1}
    yield {"advance_hours": 24}


def _silent_month(faults: Sequence[str]) -> Iterator[Step]:
    """After the last cycle all phones are silent, where that is what is tried: it takes long."""
    if any("silent_phones" in name for name in faults):
        yield {"advance_hours": 41 * 24}


def crash_histories(faults: Collection[str]) -> Iterator[History]:
    """Histories of those of these faults that are a point and a way to go on, each fault in one."""
    plans = [
        (make, row)
        for after in After
        for make, is_rare in ((crash_history, False), (rare_history, True))
        for row in _rows(after, faults, is_rare=is_rare)
    ]
    return (make(number, row) for number, (make, row) in enumerate(plans, 1))


def _rows(after: After, faults: Collection[str], *, is_rare: bool) -> Iterator[list[str]]:
    """Faults of one way to go on: one of each service at once, since most of a history is waiting."""
    columns = [
        [
            name
            for point in points
            if (name := fault_name(after, service, point)) in faults
            and (point in RARE_POINTS) is is_rare
        ]
        for service, points in POINTS.items()
    ]
    return ([name for name in row if name] for row in zip_longest(*columns))
