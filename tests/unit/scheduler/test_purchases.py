"""What a customer buys elsewhere, and what waits for a payment or for their yes."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.cycles import order_of_cycle
from services.scheduler.domain.ids import CustomerId, MerchantId, OrderKey, StandingOrderId
from services.scheduler.domain.order import (
    Item,
    Order,
    OrderReason,
    OrderState,
    Stage,
    awaits_confirmation,
)
from services.scheduler.domain.order_lifecycle import (
    HELD_RECHECK,
    Evaluation,
    brought_forward,
    confirmed,
    held,
    under_rules,
)
from services.scheduler.domain.purchases import PurchaseKey, RepurchaseRule, repeated
from services.scheduler.domain.standing_order import CycleChange, with_change
from services.scheduler.domain.terms import BillingMode, Terms
from tests.unit.scheduler.test_standing_order import new_standing_order

DUE = datetime(2027, 1, 31, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
RULE = RepurchaseRule(WEEK)
ORDER = Order(
    key=OrderKey(MerchantId("acme"), StandingOrderId("coffee"), 1),
    customer=CustomerId("ada"),
    local_date=date(2027, 1, 31),
    due_time=DUE,
    notice_lead=timedelta(hours=72),
    hold_until_time=DUE + timedelta(days=3),
    state=OrderState.UPCOMING,
    terms=Terms("Coffee", BillingMode.PAY_ON_NOTICE, "", timedelta(hours=72), "UTC"),
    items=(Item("beans", 2), Item("filters", 1)),
)
BEANS = PurchaseKey(MerchantId("acme"), CustomerId("ada"), "beans")
FILTERS = PurchaseKey(MerchantId("acme"), CustomerId("ada"), "filters")
BOUGHT = OrderReason.PURCHASED_ELSEWHERE
UNPAID = OrderReason.PREVIOUS_UNPAID


@given(hours=st.integers(-30 * 24, 30 * 24))
def test_a_purchase_counts_within_the_window_before_the_due_time_and_since(hours: int) -> None:
    bought = DUE + timedelta(hours=hours)

    order = repeated(ORDER, RULE, {FILTERS: bought})

    assert (order is not None) == (timedelta(hours=-hours) < WEEK)


def test_it_says_which_product_was_bought_and_when() -> None:
    order = repeated(ORDER, RULE, {FILTERS: DUE})

    assert order is not None
    assert (order.product, order.purchase_time) == ("filters", DUE)


def test_without_a_window_no_purchase_counts() -> None:
    assert repeated(ORDER, None, {FILTERS: DUE}) is None


def test_another_customers_purchase_does_not_count() -> None:
    assert repeated(ORDER, RULE, {FILTERS._replace(customer=CustomerId("ben")): DUE}) is None


def test_a_cycle_that_was_asked_for_at_once_is_wanted_whatever_was_bought() -> None:
    at_once = with_change(new_standing_order(), 1, CycleChange(order_now_time=DUE - WEEK))

    order = order_of_cycle(at_once, 1, DUE - WEEK)

    assert order is not None
    assert repeated(order, RULE, {BEANS: DUE - WEEK}) is None
    assert repeated(with_longer_lead(order), RULE, {BEANS: DUE - WEEK}) is None


def test_an_announced_order_that_was_asked_for_at_once_is_wanted_whatever_was_bought() -> None:
    at_once = brought_forward(ORDER, date(2027, 1, 28), DUE - WEEK)

    assert repeated(at_once, RULE, {FILTERS: DUE}) is None
    assert repeated(with_longer_lead(at_once), RULE, {FILTERS: DUE}) is None


def with_longer_lead(order: Order) -> Order:
    """The order as it is when its mandate promises a notice a day ahead."""
    return under_rules(order, Evaluation(None, rules=(), mandate_lead=timedelta(days=1)))


def test_a_confirmed_order_is_checked_at_once_and_not_asked_about_again() -> None:
    asking = held(ORDER, (BOUGHT,), Stage.PREPARE, DUE - WEEK)
    assert awaits_confirmation(asking)

    wanted = confirmed(asking, DUE - WEEK)

    assert wanted.recheck_time == DUE - WEEK
    assert repeated(wanted, RULE, {FILTERS: DUE}) is None


def test_what_is_held_for_anything_else_asks_nothing() -> None:
    assert not awaits_confirmation(
        held(ORDER, (OrderReason.OUT_OF_STOCK,), Stage.PREPARE, DUE - WEEK)
    )


def test_a_question_without_an_answer_lapses_with_its_hold() -> None:
    asking = held(ORDER, (BOUGHT,), Stage.PREPARE, ORDER.hold_until_time)

    assert asking.state is OrderState.LAPSED


@given(days=st.integers(0, 100))
def test_who_waits_for_a_payment_waits_as_long_as_that_takes(days: int) -> None:
    now = DUE + timedelta(days=days)

    waiting = held(ORDER, (UNPAID,), Stage.PREPARE, now)

    assert waiting.state is OrderState.HELD
    assert waiting.recheck_time is not None
    assert now < waiting.recheck_time <= now + HELD_RECHECK


def test_who_waits_for_more_than_a_payment_lapses_with_the_hold() -> None:
    reasons = (UNPAID, OrderReason.OUT_OF_STOCK)

    assert held(ORDER, reasons, Stage.PREPARE, ORDER.hold_until_time).state is OrderState.LAPSED
