"""Each check is given records that agree, then records that do not: an audit must be able to fail."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.prove.checks import CHECKS
from cli.prove.cycles import check_cycles
from cli.prove.findings import Check, Kind
from cli.prove.money import check_ledger, check_payments, check_refunds
from cli.prove.notices import check_messages, check_promises
from cli.prove.progress import check_backlogs
from cli.prove.records import (
    Attempt,
    Backlog,
    Charge,
    Delivery,
    LedgerEntry,
    Mandate,
    Message,
    Order,
    Payment,
    Records,
    Refund,
    StandingOrder,
)

DUE = datetime(2026, 1, 31, 9, tzinfo=UTC)
NEXT_DUE = datetime(2026, 2, 28, 9, tzinfo=UTC)
ORDER = "merchants/demo/standingOrders/tea/orders/1"
CHARGE = "merchants/demo/customers/ada/charges/tea-1"
REFUND = f"{CHARGE}/refunds/torn"
UPCOMING = Delivery(
    merchant="demo",
    customer="ada",
    notice="n-1",
    kind="ORDER_UPCOMING",
    subject=ORDER,
    channel="SMS",
    main=True,
    state="DELIVERED",
    deliver_time=DUE - timedelta(days=3),
    promised_minor=12_50,
    promised_currency="EUR",
    phone_count=1,
)
RECEIPT = replace(
    UPCOMING, notice="n-2", kind="RECEIPT", deliver_time=DUE, promised_minor=None,
    promised_currency="",
)  # fmt: skip


def message(delivery: Delivery) -> Message:
    return Message(delivery.channel, max(delivery.keys))


def entry(transaction: str, source: str, account: str, amount_minor: int) -> LedgerEntry:
    return LedgerEntry("demo", transaction, source, account, amount_minor, "EUR")


MANDATE = Mandate(
    name="merchants/demo/customers/ada/mandates/consent",
    charge_ceiling_minor=12_00,
    month_ceiling_minor=12_00,
    currency="EUR",
    valid_from_time=DUE - timedelta(days=30),
    valid_until_time=DUE + timedelta(days=30),
    revoke_time=DUE + timedelta(hours=1),
)

SOUND = Records(
    now=DUE + timedelta(days=1),
    standing_orders=(
        StandingOrder(
            merchant="demo",
            standing_order="tea",
            state="ACTIVE",
            first_cycle=1,
            schedule={
                "start_date": "2026-01-31",
                "local_time": "09:00",
                "time_zone": "UTC",
                "recurrence": {"monthly": {"every_months": 1, "month_days": [31]}},
                "end": None,
            },
            change_time=DUE - timedelta(days=30),
        ),
    ),
    orders=(Order(("demo", "tea", 1), DUE, "PAID", 12_00, "EUR"),),
    charges=(Charge(CHARGE, ORDER, "SUCCEEDED", "AUTOMATIC", 12_00, "EUR"),),
    attempts=(Attempt(CHARGE, 1, "key-1", "SUCCEEDED", 12_00, "EUR", "pi_1", DUE, MANDATE.name),),
    mandates=(MANDATE,),
    refunds=(Refund(REFUND, "SUCCEEDED", 5_00, "EUR", "re_1"),),
    ledger_entries=(
        entry("t-1", CHARGE, "provider-clearing", 12_00),
        entry("t-1", CHARGE, "merchant-payable", -12_00),
        entry("t-2", REFUND, "merchant-payable", 5_00),
        entry("t-2", REFUND, "provider-clearing", -5_00),
    ),
    deliveries=(UPCOMING, RECEIPT),
    backlogs=(Backlog("catalog", 0, 0),),
    payments=(Payment("pi_1", "key-1", "SUCCEEDED", 12_00, "EUR"),),
    provider_refunds=(Payment("re_1", "", "SUCCEEDED", 5_00, "EUR"),),
    messages=(message(UPCOMING), message(RECEIPT)),
)
PAID = SOUND.orders[0]
STANDING_ORDER = SOUND.standing_orders[0]


def sound_but(**changed: Any) -> Records:  # noqa: ANN401 - any part of the records
    return replace(SOUND, **changed)


def kinds(check: Check) -> list[Kind]:
    return [finding.kind for finding in check.findings]


@pytest.mark.parametrize("check", CHECKS)
def test_facts_that_agree_pass(check: Callable[[Records], Check]) -> None:
    assert check(SOUND).findings == ()


# Cycles.


def test_a_cycle_without_an_order_is_missing() -> None:
    assert kinds(check_cycles(sound_but(orders=()))) == [Kind.MISSING]


def test_an_order_on_another_date_than_the_calendars_is_wrong() -> None:
    late = replace(PAID, due_time=DUE + timedelta(hours=1))
    assert kinds(check_cycles(sound_but(orders=(late,)))) == [Kind.WRONG]


def test_an_order_that_was_moved_has_its_own_date() -> None:
    moved = replace(PAID, due_time=DUE - timedelta(days=2), moved=True)
    assert kinds(check_cycles(sound_but(orders=(moved,)))) == []


@pytest.mark.parametrize(
    "beyond",
    [
        {"blackouts": [["2026-01-31", "2026-02-01"]], "blackout_rule": "MOVE_TO_NEXT_ALLOWED"},
        {"business_days": {"rule": "NEXT", "country": "DE", "subdivision": ""}},
    ],
)
def test_dates_that_the_plain_calendar_cannot_tell_are_not_judged(beyond: dict[str, Any]) -> None:
    bent = replace(STANDING_ORDER, schedule={**STANDING_ORDER.schedule, **beyond})
    elsewhen = replace(PAID, due_time=DUE + timedelta(days=3))
    assert kinds(check_cycles(sound_but(standing_orders=(bent,), orders=(elsewhen,)))) == []


def test_a_gap_between_cycles_whose_dates_were_changed_is_found_all_the_same() -> None:
    changed = replace(STANDING_ORDER, dates_changed=True)
    third = replace(PAID, key=("demo", "tea", 3), due_time=NEXT_DUE + timedelta(days=30))
    records = sound_but(standing_orders=(changed,), orders=(PAID, third))
    assert kinds(check_cycles(records)) == [Kind.MISSING]


def test_a_cycle_that_another_system_billed_is_not_missing() -> None:
    [tea] = SOUND.standing_orders
    imported = replace(tea, billed_from_cycle=2)
    assert kinds(check_cycles(sound_but(standing_orders=(imported,), orders=()))) == []


def test_a_second_order_of_a_cycle_is_a_duplicate() -> None:
    assert kinds(check_cycles(sound_but(orders=(PAID, PAID)))) == [Kind.DUPLICATE]


def test_a_cycle_that_is_only_announced_is_no_discrepancy() -> None:
    upcoming = Order(("demo", "tea", 2), NEXT_DUE, "UPCOMING", None, "EUR")
    assert kinds(check_cycles(sound_but(orders=(PAID, upcoming)))) == []


def test_an_order_on_another_day_than_the_calendars_is_wrong() -> None:
    drifted = replace(PAID, due_time=DUE - timedelta(days=1))
    assert kinds(check_cycles(sound_but(orders=(drifted,)))) == [Kind.WRONG]


def test_an_order_of_a_cycle_that_does_not_exist_is_wrong() -> None:
    stray = replace(PAID, key=("demo", "tea", 99))
    assert kinds(check_cycles(sound_but(orders=(PAID, stray)))) == [Kind.WRONG]


def test_cycles_after_a_cancellation_need_no_order() -> None:
    cancelled = replace(STANDING_ORDER, state="CANCELLED", change_time=DUE - timedelta(hours=1))
    assert kinds(check_cycles(sound_but(standing_orders=(cancelled,), orders=()))) == []


def test_cycles_before_a_cancellation_need_one() -> None:
    cancelled = replace(STANDING_ORDER, state="CANCELLED", change_time=DUE + timedelta(hours=1))
    records = sound_but(standing_orders=(cancelled,), orders=())
    assert kinds(check_cycles(records)) == [Kind.MISSING]


# Payments.


def test_a_paid_order_that_nobody_was_charged_for_is_found() -> None:
    records = sound_but(charges=(), attempts=(), payments=())
    assert kinds(check_payments(records)) == [Kind.MISSING]


def test_a_payment_that_the_provider_does_not_know_is_missing() -> None:
    assert kinds(check_payments(sound_but(payments=()))) == [Kind.MISSING]


def test_an_attempt_that_the_provider_declined_is_missing_its_payment() -> None:
    declined = replace(SOUND.payments[0], state="REQUIRES_PAYMENT_METHOD")
    assert kinds(check_payments(sound_but(payments=(declined,)))) == [Kind.MISSING]


def test_two_payments_of_one_attempt_are_a_duplicate() -> None:
    again = replace(SOUND.payments[0], id="pi_2")
    records = sound_but(payments=(*SOUND.payments, again))
    assert kinds(check_payments(records)) == [Kind.DUPLICATE]


def test_a_payment_that_we_know_nothing_of_is_a_duplicate() -> None:
    stray = Payment("pi_2", "key-2", "SUCCEEDED", 12_00, "EUR")
    records = sound_but(payments=(*SOUND.payments, stray))
    assert kinds(check_payments(records)) == [Kind.DUPLICATE]


def test_a_payment_of_another_amount_is_an_imbalance() -> None:
    more = replace(SOUND.payments[0], amount_minor=12_01)
    assert kinds(check_payments(sound_but(payments=(more,)))) == [Kind.IMBALANCE]


def test_a_payment_in_another_currency_is_an_imbalance() -> None:
    dollars = replace(SOUND.payments[0], currency="USD")
    assert kinds(check_payments(sound_but(payments=(dollars,)))) == [Kind.IMBALANCE]


def test_a_charge_of_another_amount_than_its_order_is_an_imbalance() -> None:
    dearer = replace(PAID, amount_minor=11_00)
    assert kinds(check_payments(sound_but(orders=(dearer,)))) == [Kind.IMBALANCE]


def test_a_charge_that_succeeded_for_an_order_that_is_not_paid_is_wrong() -> None:
    lapsed = replace(PAID, state="LAPSED")
    assert kinds(check_payments(sound_but(orders=(lapsed,)))) == [Kind.WRONG]


def test_two_succeeded_charges_of_one_order_are_a_duplicate() -> None:
    records = sound_but(charges=SOUND.charges * 2)
    assert Kind.DUPLICATE in kinds(check_payments(records))


def test_an_attempt_that_nobody_has_looked_up_is_wrong() -> None:
    unknown = replace(SOUND.attempts[0], number=2, state="UNKNOWN")
    records = sound_but(attempts=(*SOUND.attempts, unknown))
    assert kinds(check_payments(records)) == [Kind.WRONG]


# Refunds.


def test_a_refund_that_the_provider_does_not_know_is_missing() -> None:
    assert kinds(check_refunds(sound_but(provider_refunds=()))) == [Kind.MISSING]


def test_a_refund_that_we_do_not_know_is_missing_here() -> None:
    assert kinds(check_refunds(sound_but(refunds=()))) == [Kind.MISSING]


def test_a_refund_of_another_amount_is_an_imbalance() -> None:
    less = replace(SOUND.provider_refunds[0], amount_minor=4_00)
    assert kinds(check_refunds(sound_but(provider_refunds=(less,)))) == [Kind.IMBALANCE]


# The ledger.


def test_a_transaction_that_does_not_sum_to_zero_is_an_imbalance() -> None:
    [first, second, *others] = SOUND.ledger_entries
    records = sound_but(ledger_entries=(first, replace(second, amount_minor=-11_00), *others))
    assert kinds(check_ledger(records)) == [Kind.IMBALANCE]


def test_legs_that_sum_to_zero_over_two_currencies_are_no_balance() -> None:
    [first, second, *others] = SOUND.ledger_entries
    records = sound_but(ledger_entries=(first, replace(second, currency="USD"), *others))
    assert kinds(check_ledger(records)) == [Kind.IMBALANCE, Kind.IMBALANCE]


def test_a_charge_that_was_not_booked_is_missing_and_missed_by_the_provider() -> None:
    records = sound_but(ledger_entries=SOUND.ledger_entries[2:])
    assert set(kinds(check_ledger(records))) == {Kind.MISSING, Kind.IMBALANCE}


def test_a_charge_that_was_booked_twice_is_a_duplicate() -> None:
    again = tuple(replace(each, transaction="t-3") for each in SOUND.ledger_entries[:2])
    records = sound_but(ledger_entries=(*SOUND.ledger_entries, *again))
    assert set(kinds(check_ledger(records))) == {Kind.DUPLICATE, Kind.IMBALANCE}


def test_a_booking_of_what_never_succeeded_is_wrong() -> None:
    records = sound_but(refunds=(replace(SOUND.refunds[0], state="FAILED"),))
    assert kinds(check_ledger(records)) == [Kind.WRONG]


def test_books_that_hold_less_than_the_provider_are_an_imbalance() -> None:
    stray = Payment("pi_2", "key-2", "SUCCEEDED", 1, "EUR")
    records = sound_but(payments=(*SOUND.payments, stray))
    assert kinds(check_ledger(records)) == [Kind.IMBALANCE]


# What customers were promised.


def test_a_payment_without_a_notice_breaks_a_promise() -> None:
    assert kinds(check_promises(sound_but(deliveries=()))) == [Kind.WRONG]


def test_a_payment_before_its_notice_was_delivered_breaks_a_promise() -> None:
    late = replace(UPCOMING, deliver_time=DUE + timedelta(seconds=1))
    assert kinds(check_promises(sound_but(deliveries=(late,)))) == [Kind.WRONG]


def test_a_notice_that_failed_is_no_notice() -> None:
    failed = replace(UPCOMING, state="FAILED", deliver_time=None)
    assert kinds(check_promises(sound_but(deliveries=(failed,)))) == [Kind.WRONG]


def test_a_copy_that_arrived_is_a_notice_if_the_main_channel_failed() -> None:
    failed = replace(UPCOMING, state="FAILED", deliver_time=None)
    copy = replace(UPCOMING, main=False, channel="EMAIL")
    assert kinds(check_promises(sound_but(deliveries=(failed, copy)))) == []


def test_a_copy_of_a_void_notice_is_no_notice() -> None:
    void = replace(UPCOMING, state="VOIDED", deliver_time=None)
    copy = replace(UPCOMING, main=False, channel="EMAIL")
    assert kinds(check_promises(sound_but(deliveries=(void, copy)))) == [Kind.WRONG]


def test_a_copy_without_its_notice_is_no_notice() -> None:
    assert kinds(check_promises(sound_but(deliveries=(replace(UPCOMING, main=False),)))) == [
        Kind.WRONG
    ]


def test_a_payment_above_its_notice_breaks_a_promise() -> None:
    less = replace(UPCOMING, promised_minor=11_99)
    assert kinds(check_promises(sound_but(deliveries=(less,)))) == [Kind.WRONG]


def test_a_request_to_pay_is_notice_enough_for_one_who_confirms() -> None:
    confirmed = replace(SOUND.charges[0], billing_mode="PAY_ON_NOTICE")
    asked = replace(UPCOMING, kind="PAYMENT_REQUEST", promised_minor=None, promised_currency="")
    records = sound_but(charges=(confirmed,), deliveries=(asked,))
    assert kinds(check_promises(records)) == []


# Messages.


def test_a_notice_that_never_left_is_missing() -> None:
    assert kinds(check_messages(sound_but(messages=(message(RECEIPT),)))) == [Kind.MISSING]


def test_a_message_that_arrived_twice_is_a_duplicate() -> None:
    records = sound_but(messages=(*SOUND.messages, message(RECEIPT)))
    assert kinds(check_messages(records)) == [Kind.DUPLICATE]


def test_a_notice_sent_to_two_phones_of_one_customer_is_a_duplicate() -> None:
    both = tuple(Message("SMS", key) for key in RECEIPT.keys)
    records = sound_but(messages=(message(UPCOMING), *both))
    assert kinds(check_messages(records)) == [Kind.DUPLICATE]


def test_a_message_for_no_notice_is_a_duplicate() -> None:
    records = sound_but(messages=(*SOUND.messages, Message("SMS", "unheard-of")))
    assert kinds(check_messages(records)) == [Kind.DUPLICATE]


def test_a_notice_that_could_not_be_delivered_needs_no_message() -> None:
    failed = replace(RECEIPT, state="FAILED", deliver_time=None)
    records = sound_but(deliveries=(UPCOMING, failed), messages=(message(UPCOMING),))
    assert kinds(check_messages(records)) == []


# What is left to do.


@pytest.mark.parametrize("backlog", [Backlog("payments", 1, 0), Backlog("payments", 0, 1)])
def test_events_untold_or_dead_are_wrong(backlog: Backlog) -> None:
    assert kinds(check_backlogs(sound_but(backlogs=(backlog,)))) == [Kind.WRONG]
