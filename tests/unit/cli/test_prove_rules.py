"""Each rule of the audit fails for one changed fact, and for that alone; ordinary histories pass."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from cli.prove.checks import CHECKS
from cli.prove.records import Attempt, BroughtForward, Hold, Order, Records, Stock, Waiting
from tests.unit.cli.test_prove_checks import CHARGE, DUE, NEXT_DUE, SOUND, UPCOMING

[PAID] = SOUND.orders
[MANDATE] = SOUND.mandates
[TEA] = SOUND.standing_orders
WHOLE = replace(
    SOUND,
    orders=(replace(PAID, local_date=DUE.date()),),
    deliveries=(
        replace(UPCOMING, not_before_time=DUE, lead=timedelta(days=3)),
        *SOUND.deliveries[1:],
    ),
    holds=(Hold(PAID.key, "tea", 2, "COMMITTED"),),
    waiting=(Waiting("scheduler", "standing order", "demo/tea", SOUND.now + timedelta(days=90)),),
)
[SUCCEEDED] = WHOLE.attempts
[PROMISE, RECEIPT] = WHOLE.deliveries


def but(**changed: Any) -> Records:  # noqa: ANN401 - any part of the records
    return replace(WHOLE, **changed)


def mandate(**changed: Any) -> Records:  # noqa: ANN401
    return but(mandates=(replace(MANDATE, **changed),))


def failed(records: Records) -> set[str]:
    return {check.__name__ for check in CHECKS if check(records).findings}


FORWARD = BroughtForward(PAID.key, NEXT_DUE.date())


@pytest.mark.parametrize(
    ("records", "check"),
    [
        (mandate(name="merchants/demo/customers/ada/mandates/other"), "check_consent"),
        (mandate(revoke_time=DUE - timedelta(seconds=1)), "check_consent"),
        (mandate(valid_until_time=DUE), "check_consent"),
        (mandate(valid_from_time=DUE + timedelta(seconds=1)), "check_consent"),
        (mandate(charge_ceiling_minor=11_99), "check_consent"),
        (mandate(month_ceiling_minor=11_99), "check_consent"),
        (mandate(currency="USD"), "check_consent"),
        (but(attempts=(replace(SUCCEEDED, mandate=""),)), "check_consent"),
        (
            but(deliveries=(replace(PROMISE, deliver_time=DUE - timedelta(days=2)), RECEIPT)),
            "check_promises",
        ),
        (
            but(deliveries=(replace(PROMISE, not_before_time=DUE + timedelta(hours=1)), RECEIPT)),
            "check_promises",
        ),
        (but(deliveries=(replace(PROMISE, promised_minor=11_99), RECEIPT)), "check_promises"),
        (but(holds=(Hold(PAID.key, "tea", 2, "HELD"),),
             stocks=(Stock("demo", "tea", 2),)), "check_stock"),
        (but(holds=(Hold(PAID.key, "tea", 2, "RELEASED"),)), "check_stock"),
        (but(holds=(Hold(("demo", "tea", 9), "tea", 2, "COMMITTED"),)), "check_stock"),
        (but(stocks=(Stock("demo", "tea", 1),)), "check_stock"),
        (
            but(waiting=(Waiting("notify", "SMS", "n-1", SOUND.now - timedelta(hours=2)),)),
            "check_waiting",
        ),
        (
            but(
                orders=(*WHOLE.orders, Order(("demo", "tea", 2), NEXT_DUE, "AWAITING_PAYMENT",
                                             12_00, "EUR", local_date=NEXT_DUE.date())),
                now=NEXT_DUE,
            ),
            "check_waiting",
        ),
        (
            but(
                brought_forward=(FORWARD,),
                orders=(
                    *WHOLE.orders,
                    Order(("demo", "tea", 2), NEXT_DUE, "UPCOMING", None, "EUR",
                          local_date=NEXT_DUE.date()),
                ),
            ),
            "check_dates",
        ),
        (but(orders=()), "check_cycles"),
    ],
)  # fmt: skip
def test_one_changed_fact_fails_its_check(records: Records, check: str) -> None:
    found = failed(records)
    assert check in found
    # An order that is not there leaves its money without one.
    assert found - {check} <= ({"check_payments", "check_stock"} if not records.orders else set())


def test_two_charges_of_one_month_are_counted_together() -> None:
    again = Attempt(CHARGE, 2, "key-2", "UNKNOWN", 12_00, "EUR", "", DUE, MANDATE.name)
    assert failed(but(attempts=(SUCCEEDED, again))) == {"check_consent", "check_payments"}


def paused(**changed: Any) -> Records:  # noqa: ANN401
    tea = replace(TEA, state="PAUSED", next_cycle=2, **changed)
    return but(now=NEXT_DUE + timedelta(days=60), standing_orders=(tea,))


@pytest.mark.parametrize(
    "records",
    [
        WHOLE,
        # Its title was changed during the pause; the rows of what passes come at its end.
        paused(change_time=NEXT_DUE + timedelta(days=50)),
        # Nothing tells when a standing order of an erased customer ended.
        but(
            now=NEXT_DUE + timedelta(days=60),
            standing_orders=(
                replace(TEA, state="CANCELLED", erased=True,
                        change_time=NEXT_DUE + timedelta(days=50)),
            ),
        ),
        # The customer let the cycle under way be the last.
        but(
            now=NEXT_DUE + timedelta(days=60),
            standing_orders=(replace(TEA, state="COMPLETED", last_cycle=1),),
        ),
        # A cycle that its customer put on the date of one that they had had sooner.
        but(
            brought_forward=(FORWARD,),
            date_chosen=frozenset({("demo", "tea", 2)}),
            orders=(
                *WHOLE.orders,
                Order(("demo", "tea", 2), NEXT_DUE, "UPCOMING", None, "EUR",
                      local_date=NEXT_DUE.date()),
            ),
        ),
    ],
    ids=["sound", "paused", "erased", "last cycle", "chosen date"],
)  # fmt: skip
def test_an_ordinary_history_is_silent(records: Records) -> None:
    assert failed(records) == set()


def test_a_cycle_that_a_pause_swallowed_is_missed_once_the_pause_is_over() -> None:
    cancelled = replace(TEA, state="CANCELLED", change_time=NEXT_DUE + timedelta(days=1))
    records = but(now=NEXT_DUE + timedelta(days=2), standing_orders=(cancelled,))
    assert failed(records) == {"check_cycles"}
    skipped = Order(("demo", "tea", 2), NEXT_DUE, "SKIPPED", None, "EUR",
                    local_date=date(2026, 2, 28))  # fmt: skip
    assert failed(replace(records, orders=(*WHOLE.orders, skipped))) == set()


def test_weekdays_that_are_repeated_are_one_day_each() -> None:
    weekly = {"weekly": {"every_weeks": 1, "weekdays": [6, 6]}}
    tea = replace(TEA, schedule={**TEA.schedule, "recurrence": weekly})
    assert failed(but(standing_orders=(tea,))) == set()


def test_an_outage_of_some_hours_leaves_an_attempt_unknown_without_a_finding() -> None:
    now: datetime = SOUND.now
    fresh = replace(SUCCEEDED, number=2, state="UNKNOWN", start_time=now - timedelta(hours=3),
                    amount_minor=1)  # fmt: skip
    records = but(attempts=(SUCCEEDED, fresh), mandates=(replace(MANDATE, month_ceiling_minor=None,
                revoke_time=None),))  # fmt: skip
    assert failed(records) == set()
