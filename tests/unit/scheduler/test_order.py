"""What can happen to an order, and what never can."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.charge_rules import ChargeRule
from services.scheduler.domain.ids import CustomerId, MerchantId, OrderKey, StandingOrderId
from services.scheduler.domain.order import Item, Line, Order, OrderReason, OrderState, Quote, Stage
from services.scheduler.domain.order_lifecycle import (
    Evaluation,
    brought_forward,
    collected,
    held,
    opened,
    under_rules,
)
from services.scheduler.domain.terms import BillingMode, Terms

DUE = datetime(2027, 1, 31, 12, tzinfo=UTC)
LEAD = timedelta(hours=72)
TERMS = Terms("Coffee", BillingMode.PAY_ON_NOTICE, "", timedelta(hours=72), "UTC")
ORDER = Order(
    key=OrderKey(MerchantId("acme"), StandingOrderId("coffee"), 1),
    customer=CustomerId("ada"),
    local_date=date(2027, 1, 31),
    due_time=DUE,
    notice_lead=LEAD,
    hold_until_time=DUE + timedelta(days=3),
    state=OrderState.UPCOMING,
    terms=TERMS,
    items=(Item("beans", 2),),
)

amounts = st.integers(1, 10**9)
hours = st.integers(-30 * 24, 30 * 24).map(lambda count: timedelta(hours=count))


def quote(amount_minor: int, currency: str = "EUR") -> Quote:
    line = Line(
        "merchants/acme/products/beans", "Beans", 1, amount_minor, amount_minor,
        "merchants/acme/products/beans/prices/first", amount_minor, amount_minor,
    )  # fmt: skip
    return Quote(amount_minor, currency, (line,))


def announced(amount_minor: int = 1000) -> Order:
    return opened(ORDER, Evaluation(quote(amount_minor)), DUE - LEAD)


def test_an_order_prepared_in_time_is_charged_at_its_due_time() -> None:
    order = announced()

    assert order.state is OrderState.UPCOMING
    assert order.charge_not_before_time == DUE
    assert order.notified_minor == 1000


@given(late=hours)
def test_a_late_start_defers_the_charge_and_never_shortens_the_lead(late: timedelta) -> None:
    order = opened(ORDER, Evaluation(quote(1000)), DUE + late)

    assert order.charge_not_before_time is not None
    assert order.charge_not_before_time >= DUE
    assert order.charge_not_before_time >= DUE + late + LEAD


def test_an_order_is_not_collected_before_its_notice_is_delivered() -> None:
    assert announced().collect_time is None


@given(notified=amounts, quoted=amounts, currency=st.sampled_from(["EUR", "USD"]))
def test_nobody_pays_more_than_was_announced(notified: int, quoted: int, currency: str) -> None:
    order = collected(announced(notified), quote(quoted, currency), (), DUE)

    assert order.state is OrderState.AWAITING_PAYMENT
    assert order.amount_minor is not None
    assert order.amount_minor <= notified
    assert order.currency == "EUR"


def test_a_price_that_fell_since_the_notice_is_passed_on_with_its_lines() -> None:
    order = collected(announced(1000), quote(800), (), DUE)

    assert order.amount_minor == 800
    assert order.lines[0].amount_minor == 800


def test_an_order_that_cannot_be_priced_or_announced_is_held_with_every_reason() -> None:
    problems = (OrderReason.PRODUCT_UNAVAILABLE, OrderReason.PHONE_NOT_BOUND)

    order = opened(ORDER, Evaluation(None, problems), DUE - LEAD)

    assert order.state is OrderState.HELD
    assert order.reasons == problems
    assert order.held_stage is Stage.PREPARE


def test_stock_that_is_short_at_the_due_time_holds_the_order_for_collecting_again() -> None:
    order = collected(announced(), quote(1000), (OrderReason.OUT_OF_STOCK,), DUE)

    assert order.state is OrderState.HELD
    assert order.held_stage is Stage.COLLECT
    assert order.collect_time is None


@given(wait=hours)
def test_a_hold_ends_with_its_window(wait: timedelta) -> None:
    now = DUE + wait
    order = held(ORDER, (OrderReason.OUT_OF_STOCK,), Stage.COLLECT, now)

    if now < ORDER.hold_until_time:
        assert order.state is OrderState.HELD
        assert order.recheck_time is not None
        assert now < order.recheck_time <= ORDER.hold_until_time
    else:
        assert order.state is OrderState.LAPSED
        assert order.reasons == (OrderReason.OUT_OF_STOCK, OrderReason.HOLD_EXPIRED)


def test_finding_the_same_obstacle_again_is_no_news() -> None:
    first = held(ORDER, (OrderReason.OUT_OF_STOCK,), Stage.COLLECT, DUE)
    again = held(
        first._replace(decisions=()),
        (OrderReason.OUT_OF_STOCK,),
        Stage.COLLECT,
        DUE + timedelta(hours=6),
    )

    assert first.decisions
    assert again.decisions == ()


def test_an_order_announced_again_is_announced_with_a_new_number() -> None:
    waiting = held(announced(), (OrderReason.NOTICE_UNDELIVERABLE,), Stage.PREPARE, DUE - LEAD)

    again = opened(waiting, Evaluation(quote(1000)), DUE - LEAD + timedelta(hours=6))

    assert again.announcement_count == 2
    assert again.charge_not_before_time == DUE + timedelta(hours=6)


def test_an_announced_order_that_is_wanted_at_once_is_announced_again_without_a_lead() -> None:
    now = DUE - timedelta(hours=50)

    sooner = brought_forward(announced(), date(2027, 1, 29), now)
    again = opened(sooner, Evaluation(quote(1000)), now)

    assert sooner.recheck_time == now
    assert again.due_time == now
    assert again.charge_not_before_time == now
    assert again.announcement_count == 2


@pytest.mark.parametrize(
    ("rules", "is_free"),
    [
        (None, False),
        ((), True),
        ((ChargeRule("own", "confirmation", "", None, 1000, "EUR"),), True),
        ((ChargeRule("sepa-core", "lead", "", timedelta(days=14)),), False),
    ],
    ids=["nothing known", "no rule", "another rule", "a notice"],
)
def test_a_merchant_decides_what_counts_as_notified_where_no_rule_asks_for_a_notice(
    rules: tuple[ChargeRule, ...] | None, *, is_free: bool
) -> None:
    promised_by_mandate = Evaluation(quote(1000), rules=rules, mandate_lead=timedelta(days=20))
    assert under_rules(ORDER, promised_by_mandate).evidence_is_free is is_free
