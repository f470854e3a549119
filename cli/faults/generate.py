"""Histories from a seed: the same seed gives the same history, on any machine."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from cli.faults.history import History, Step
from cli.faults.shop import EXPIRING_CARD

# The clock begins shortly before what calendars get wrong: ends of months, changes of the clocks.
STARTS: Sequence[Mapping[str, int]] = (
    {},
    {"month": 1, "day": 29, "hour": 20},
    {"month": 2, "day": 26, "hour": 3},
    {"month": 3, "day": 5, "hour": 22},
    {"month": 3, "day": 25, "hour": 12},
    {"month": 10, "day": 22, "hour": 23},
    {"month": 10, "day": 30, "hour": 6},
    {"month": 12, "day": 28, "hour": 9},
)
ZONES = (
    *("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"),
    *("America/Santiago", "Pacific/Auckland"),
)
LOCAL_TIMES = ("00:00", "01:30", "02:30", "09:00", "12:00", "23:59")
# Each once in a while; most customers have a card that works.
CARDS = (
    *("pm_card_visa", "pm_card_visa", "pm_card_visa", "pm_card_visa", "pm_card_mastercard"),
    *("pm_sandbox_declineFirstAttempt", "pm_sandbox_timeoutAfterCharge"),
    *("pm_sandbox_timeoutAfterCharge", "pm_sandbox_timeoutBeforeCharge"),
    *("pm_card_chargeDeclinedInsufficientFunds", "pm_card_chargeDeclinedLostCard"),
    *("pm_card_createDispute", "pm_card_createDisputeInquiry", "pm_card_visa"),
    EXPIRING_CARD,
)
# Of some customers, whose mandates are for it: banks decide after days, and take back after more.
ACCOUNTS = (
    *("", "", "", "", "MD_sandbox_sepa", "MD_sandbox_sepa", "MD_sandbox_poorAtFirst"),
    *("MD_sandbox_failsAfterConfirmation", "MD_sandbox_chargedBack"),
    "MD_sandbox_chargebackCancelled",
)
PHONES = (
    *("ordinary", "ordinary", "ordinary", "ordinary"),
    *("dropped answer", "unavailable twice", "falsely undelivered", "receipt later"),
)
MODES = ("AUTOMATIC", "AUTOMATIC", "PAY_ON_NOTICE")
ACTIONS = (
    *("skip", "skip", "cancel", "pause", "resume", "resume", "quantity", "quantity", "schedule"),
    *("mode", "mandate", "revoke", "rebind", "refund", "refund", "confirm", "confirm", "confirm"),
    *("price", "price", "restock", "restore", "move", "order_now", "purchase", "unpaid_policy"),
    *("ask_confirm", "erase", "change_items", "discontinue", "hold_off"),
    *("refund_line", "refund_line", "cancel_phone_change", "webhooks", "webhooks"),
    *("reply", "reply", "amend", "answer_dispute"),
)
# In real time the customers are the user's own, and stay as they are.
REAL_TIME_ACTIONS = tuple(
    act
    for act in ACTIONS
    if act
    not in {
        *("rebind", "cancel_phone_change", "erase", "revoke", "unpaid_policy", "webhooks"),
        *("reply", "amend"),
    }
)
STEP_COUNTS = (8, 14)
# Of faults, by the first word of their names: how often, where others are made once.
RARE_KINDS = {"crash": 3.0, "take": 0.5, "poison": 0.5, "malform": 0.5, "outlive": 0.1}
# No order waits to be paid for as long as its units are held.
NOT_AT_RANDOM = frozenset({"holds run out in catalog"})
# Of histories with cards in the provider's second account, and there of customers.
SECOND_ACCOUNT_SHARE = 1 / 3
SECOND_ACCOUNT_CUSTOMERS_SHARE = 1 / 2
ADVANCE_HOURS = (1, 3, 6, 12, 24, 24, 36, 48, 72)


def generate(seed: int, faults: Sequence[str], *, simulated: bool = True) -> History:
    """The history of a seed, with faults of these names; without a simulated clock no time passes."""
    faults = [name for name in faults if name not in NOT_AT_RANDOM]
    rng = random.Random(seed)  # noqa: S311 - no secret; it must be the same everywhere
    products: list[dict[str, Any]] = [
        {"id": "tea", "price_minor": rng.choice((250, 420, 999))},
        {"id": "coffee", "price_minor": rng.choice((1290, 1550))},
        {
            "id": "beans",
            "price_minor": 800,
            "stock_units": rng.choice((2, 5, 50)),
        },
        # A service, with so many slots a day.
        {"id": "visit", "price_minor": 700, "slots": rng.choice((1, 2, 20))},
    ]
    customers = [_customer(rng) for _ in range(rng.choice((1, 2, 2, 3)))]
    for number in _customers_of_second_account(seed, len(customers)):
        customers[number]["second_account"] = True
    orders = [
        _standing_order(rng, rng.randrange(len(customers))) for _ in range(rng.choice((2, 3, 3, 4)))
    ]
    # Both ways to pay are in each book.
    orders[0]["mode"], orders[1]["mode"] = "AUTOMATIC", "PAY_ON_NOTICE"
    start = rng.choice(STARTS) if simulated else {}
    steps = _steps(rng, len(customers), len(orders), faults, simulated=simulated)
    # What events a platform wants costs time, so most want some.
    platform = rng.choice(("", "some", "some", "all"))
    return History(seed, start, products, customers, orders, tuple(steps), platform)


def _customer(rng: random.Random) -> dict[str, Any]:
    return {
        "card": rng.choice(CARDS),
        "account": rng.choice(ACCOUNTS),
        "phone": rng.choice(PHONES),
        "ceiling_minor": rng.choice((100_000, 100_000, 6_000)),
        "month_ceiling_minor": rng.choice((0, 0, 12_000)),
        "valid_days": rng.choice((0, 0, 0, 9)),
    }


def _customers_of_second_account(seed: int, count: int) -> set[int]:
    """Whose cards are in the provider's second account; a deployment without one has all in one."""
    # A stream of its own: all else of a seed is as it was when the sandbox had one account, so that
    # what is said of seeds that found something still holds.
    rng = random.Random(f"{seed} accounts")  # noqa: S311 - as above
    if rng.random() >= SECOND_ACCOUNT_SHARE:
        return set()
    others = {n for n in range(count) if rng.random() < SECOND_ACCOUNT_CUSTOMERS_SHARE}
    return {rng.randrange(count)} | others


def _standing_order(rng: random.Random, customer: int) -> dict[str, Any]:
    items = {
        rng.choice(("tea", "coffee", "beans", "visit")): rng.choice((1, 2, 3)) for _ in range(2)
    }
    otherwise = rng.choice(("SKIP", "HOLD_AND_ASK", "DEFER"))
    return {
        "customer": customer,
        "mode": rng.choice(MODES),
        "items": items,
        "schedule": _schedule(rng),
        "lead_hours": rng.choice((1, 24, 24, 72)),
        # An order that is held is looked at every six hours.
        "window_hours": rng.choice((24, 72) if otherwise == "HOLD_AND_ASK" else (24, 72, 240)),
        "catch_up": rng.choice(("", "LATEST_ONLY", "ALL_IN_ORDER", "NONE")),
        "protection": rng.choice(("", "", "lock", "cap")),
        "condition": rng.choice(("", "", "in_stock", "total_ceiling", "expression", "days_since")),
        "otherwise": otherwise,
        # Either way, where a day of a service is full.
        "slot_days": rng.choice((0, 1, 3)),
    }


def _schedule(rng: random.Random) -> dict[str, Any]:
    return {
        "first_days": rng.choice((1, 2, 3, 4)),
        "time": rng.choice(LOCAL_TIMES),
        "zone": rng.choice(ZONES),
        "rule": rng.choice(("daily", "daily", "weekly", "monthly", "month_end")),
        "every": rng.choice((1, 2, 3, 5)),
        "count": rng.choice((0, 0, 0, 3)),
        "business_days": rng.choice(("", "", "", "NEXT", "PREVIOUS")),
    }


def _steps(
    rng: random.Random, customers: int, orders: int, faults: Sequence[str], *, simulated: bool
) -> list[Step]:
    count = rng.randint(*STEP_COUNTS)
    made: list[Step] = []
    # Few enough that each is seen by itself, and that a history plays in seconds.
    at = set(rng.sample(range(1, count), k=min(rng.choice((1, 2, 2, 3)), count - 1)))
    # Each once: a database lost again while events are replayed to it needs those of both times.
    left = list(faults)
    for number in range(count):
        if number in at and left:
            made.append(_fault(rng, left))
            left.remove(made[-1]["fault"])
        made.extend(
            _action(rng, customers, orders, ACTIONS if simulated else REAL_TIME_ACTIONS)
            for _ in range(rng.choice((0, 1, 1, 2)))
        )
        if simulated:
            made.append({"advance_hours": rng.choice(ADVANCE_HOURS)})
        # Most customers who are asked to pay do.
        made.extend(
            _action(rng, customers, orders) | {"act": "confirm", "customer": customer}
            for customer in range(customers)
            if rng.random() < 0.5  # noqa: PLR2004 - a coin
        )
    return made


def _fault(rng: random.Random, faults: Sequence[str]) -> Step:
    return {
        "fault": _fault_name(rng, faults),
        # Of real time: into what comes next, and until it is over.
        "after_seconds": round(rng.uniform(0, 0.6), 2),
        "for_seconds": round(rng.uniform(0.1, 1.0), 2),
        # Of what lasts longer.
        "for_steps": rng.choice((2, 4, 6)),
        "nth": rng.choice((1, 1, 2, 3)),
    }


def _fault_name(rng: random.Random, faults: Sequence[str]) -> str:
    """A fault, each kind as often as another but those that take half a minute."""
    kinds = sorted({name.split()[0] for name in faults})
    weights = [RARE_KINDS.get(kind, 1.0) for kind in kinds]
    [kind] = rng.choices(kinds, weights)
    return rng.choice([name for name in faults if name.split()[0] == kind])


def _action(
    rng: random.Random, customers: int, orders: int, words: Sequence[str] = ACTIONS
) -> dict[str, Any]:
    return {
        "act": rng.choice(words),
        "customer": rng.randrange(customers),
        "order": rng.randrange(orders),
        "product": rng.choice(("tea", "coffee", "beans")),
        "number": rng.randint(1, 5),
        "word": rng.choice(("GO_ON", "WAIT", "PAUSE", "CANCEL")),
        "schedule": _schedule(rng),
        # As after a time-out: the same request again, at the same moment.
        "twice": rng.random() < 0.2,  # noqa: PLR2004 - one in five
    }
