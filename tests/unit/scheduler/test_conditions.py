"""What conditions say of an order, and what becomes of it."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.quiet_hours import NOTICE_HEADROOM
from services.scheduler.domain.condition_outcomes import as_charged, prepared, stopped
from services.scheduler.domain.conditions import (
    NO_OUTCOME,
    Action,
    Condition,
    DaysSinceLastOrder,
    Expression,
    Inputs,
    InStock,
    Kind,
    MonthCeiling,
    OrderHistory,
    Otherwise,
    Outcome,
    TotalCeiling,
    UnitPriceCeiling,
    outcome_of,
)
from services.scheduler.domain.ids import CustomerId, MerchantId, OrderKey, StandingOrderId
from services.scheduler.domain.order import (
    Item,
    Line,
    Order,
    OrderReason,
    OrderState,
    Quote,
    Stage,
    Substitute,
)
from services.scheduler.domain.order_lifecycle import Evaluation, confirmed
from services.scheduler.domain.schedule import DateRange, EndAfter, Monthly, Schedule
from services.scheduler.domain.standing_order import StandingOrder, at_cycle
from services.scheduler.domain.substitution import (
    ItemAmount,
    Unpriced,
    consents_of,
    dearer,
    left_without,
    missing,
    substituted,
    takable,
)
from services.scheduler.domain.terms import BillingMode, Terms

DUE = datetime(2027, 1, 31, 12, tzinfo=UTC)
LEAD = timedelta(hours=72)
PREPARED_AT = DUE - LEAD - NOTICE_HEADROOM
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
STANDING_ORDER = at_cycle(
    StandingOrder(
        merchant=MerchantId("acme"),
        standing_order=StandingOrderId("coffee"),
        customer=CustomerId("ada"),
        title="Coffee",
        items=ORDER.items,
        schedule=Schedule(date(2027, 1, 31), time(12), "UTC", Monthly(1, (31,)), EndAfter(1)),
        billing_mode=BillingMode.PAY_ON_NOTICE,
        mandate="",
        ship_to=b"",
        price_protection=None,
        notice_lead=LEAD,
        payment_window=LEAD,
        create_time=PREPARED_AT,
        update_time=PREPARED_AT,
    ),
    1,
)


def quote(unit_price_minor: int = 500, product: str = "beans") -> Quote:
    line = Line(product, "Beans", 2, unit_price_minor, 2 * unit_price_minor, "p", 500, 1000)
    return Quote(2 * unit_price_minor, "EUR", (line,))


def condition(kind: Kind, action: Action = Action.SKIP, **how: object) -> Condition:
    return Condition(kind, Otherwise(action, **how))  # type: ignore[arg-type]


def outcome(kind: Kind, inputs: Inputs, action: Action = Action.SKIP, **how: object) -> Outcome:
    return outcome_of((condition(kind, action, **how),), ORDER, inputs)


TOO_DEAR = Inputs(quote(700))
CEILING = TotalCeiling(1000, "EUR")
SPENT = OrderHistory(
    spent_minor={(2027, 1, "EUR"): 300, (2026, 12, "EUR"): 9000, (2027, 1, "USD"): 9000}
)
DRUNK = OrderHistory(last_dates={"beans": date(2027, 1, 20), "tea": date(2027, 1, 30)})


@pytest.mark.parametrize(
    ("kind", "inputs", "holds"),
    [
        (UnitPriceCeiling("beans", 500, "EUR"), Inputs(quote()), True),
        (UnitPriceCeiling("beans", 499, "EUR"), Inputs(quote()), False),
        (UnitPriceCeiling("tea", 1, "EUR"), Inputs(quote()), True),
        (TotalCeiling(1000, "EUR"), Inputs(quote()), True),
        (TotalCeiling(999, "EUR"), Inputs(quote()), False),
        (TotalCeiling(1000, "USD"), Inputs(quote()), False),
        (MonthCeiling(1300, "EUR"), Inputs(quote(), SPENT), True),
        (MonthCeiling(1299, "EUR"), Inputs(quote(), SPENT), False),
        (InStock(), Inputs(quote(), short=frozenset({"tea"})), True),
        (InStock(), Inputs(quote(), short=frozenset({"beans"})), False),
        (DaysSinceLastOrder(11), Inputs(quote(), DRUNK), True),
        (DaysSinceLastOrder(12), Inputs(quote(), DRUNK), False),
        (Expression("total <= 1000 && weekday == 7 && month == 1"), Inputs(quote()), True),
        (Expression("items.all(i, i.product == 'tea')"), Inputs(quote()), False),
        (Expression("total / paid_orders > 1"), Inputs(quote()), False),
    ],
    ids=repr,
)
def test_a_condition_holds_up_to_its_bound(kind: Kind, inputs: Inputs, holds: bool) -> None:  # noqa: FBT001
    assert (outcome(kind, inputs).action is None) is holds


def test_of_several_conditions_that_do_not_hold_the_first_decides() -> None:
    result = outcome_of(
        (
            condition(TotalCeiling(2000, "EUR"), Action.SKIP),
            condition(CEILING, Action.HOLD_AND_ASK),
            condition(CEILING, Action.SKIP),
        ),
        ORDER,
        TOO_DEAR,
    )

    assert result.action is Action.HOLD_AND_ASK
    assert len(result.unmet) == 2


def test_an_order_left_out_says_which_condition_did_not_hold() -> None:
    result = outcome(CEILING, TOO_DEAR)

    order = prepared(ORDER, Evaluation(quote(700)), result, STANDING_ORDER, PREPARED_AT)

    assert (order.state, order.reasons) == (OrderState.SKIPPED, (OrderReason.CONDITION_NOT_MET,))
    [decision] = order.decisions
    assert "above its ceiling" in decision.summary
    assert decision.data["conditions"][0]["amount_minor"] == 1400


def test_an_order_whose_conditions_hold_says_so_and_goes_on() -> None:
    order = prepared(
        ORDER, Evaluation(quote()), outcome(CEILING, Inputs(quote())), STANDING_ORDER, PREPARED_AT
    )

    assert order.state is OrderState.UPCOMING
    assert [decision.kind for decision in order.decisions] == ["CONDITIONS_HOLD", "PREPARED"]


def test_a_customer_who_confirmed_is_not_asked_again_in_the_same_cycle() -> None:
    held = stopped(
        ORDER,
        outcome(CEILING, TOO_DEAR, Action.HOLD_AND_ASK),
        STANDING_ORDER,
        Stage.PREPARE,
        PREPARED_AT,
    )
    assert held.state is OrderState.HELD

    going_on = confirmed(held, PREPARED_AT)

    conditions = (condition(CEILING, Action.HOLD_AND_ASK),)
    assert going_on.recheck_time == PREPARED_AT
    assert outcome_of(conditions, going_on, TOO_DEAR).action is None


def test_a_yes_does_not_waive_what_leaves_the_cycle_out() -> None:
    going_on = ORDER._replace(confirmed_reasons=(OrderReason.CONDITION_NOT_MET,))

    assert outcome_of((condition(CEILING, Action.SKIP),), going_on, TOO_DEAR).action is Action.SKIP


def test_nobody_who_says_nothing_gets_the_order() -> None:
    result = outcome(CEILING, TOO_DEAR, Action.HOLD_AND_ASK)

    order = stopped(ORDER, result, STANDING_ORDER, Stage.PREPARE, ORDER.hold_until_time)

    assert order.state is OrderState.LAPSED
    assert order.reasons == (OrderReason.CONDITION_NOT_MET, OrderReason.HOLD_EXPIRED)


def test_a_deferred_order_is_prepared_again_for_its_later_date() -> None:
    result = outcome(CEILING, TOO_DEAR, Action.DEFER, defer_days=5)

    order = stopped(ORDER, result, STANDING_ORDER, Stage.PREPARE, PREPARED_AT)

    assert (order.state, order.held_stage) == (OrderState.HELD, Stage.PREPARE)
    assert order.due_time == DUE + timedelta(days=5)
    assert order.recheck_time == PREPARED_AT + timedelta(days=5)
    assert order.hold_until_time > order.due_time


def test_an_order_deferred_at_its_due_time_is_looked_at_again_on_the_later_date() -> None:
    result = outcome(CEILING, TOO_DEAR, Action.DEFER, defer_days=1)

    order = stopped(ORDER, result, STANDING_ORDER, Stage.COLLECT, DUE)

    assert order.recheck_time == order.due_time == DUE + timedelta(days=1)


def test_an_order_is_not_deferred_onto_the_next_cycle_even_after_the_last() -> None:
    last_day = outcome(CEILING, TOO_DEAR, Action.DEFER, defer_days=27)
    next_cycle = outcome(CEILING, TOO_DEAR, Action.DEFER, defer_days=28)

    deferred = stopped(ORDER, last_day, STANDING_ORDER, Stage.PREPARE, PREPARED_AT)
    left_out = stopped(ORDER, next_cycle, STANDING_ORDER, Stage.PREPARE, PREPARED_AT)

    assert deferred.state is OrderState.HELD
    assert deferred.hold_until_time == datetime(2027, 2, 28, 12, tzinfo=UTC)
    assert left_out.state is OrderState.SKIPPED


def test_an_order_is_deferred_to_a_day_that_the_schedule_allows() -> None:
    away = DateRange(date(2027, 2, 4), date(2027, 2, 9))
    schedule = replace(STANDING_ORDER.schedule, blackouts=(away,))
    result = outcome(CEILING, TOO_DEAR, Action.DEFER, defer_days=5)

    order = stopped(
        ORDER, result, replace(STANDING_ORDER, schedule=schedule), Stage.PREPARE, PREPARED_AT
    )

    assert order.local_date == date(2027, 2, 10)
    assert order.due_time == datetime(2027, 2, 10, 12, tzinfo=UTC)


def test_the_last_order_is_left_out_if_its_schedule_allows_no_day_for_good() -> None:
    schedule = replace(
        STANDING_ORDER.schedule,
        blackouts=(DateRange(date(2027, 2, 4), date(9999, 12, 31)),),
        end=EndAfter(ORDER.key.cycle),
    )
    result = outcome(CEILING, TOO_DEAR, Action.DEFER, defer_days=5)

    order = stopped(
        ORDER, result, replace(STANDING_ORDER, schedule=schedule), Stage.PREPARE, PREPARED_AT
    )

    assert order.state is OrderState.SKIPPED


def test_an_order_for_which_no_day_is_left_before_the_next_cycle_is_left_out() -> None:
    away = DateRange(date(2027, 2, 4), date(2027, 2, 27))
    schedule = replace(STANDING_ORDER.schedule, blackouts=(away,))
    result = outcome(CEILING, TOO_DEAR, Action.DEFER, defer_days=5)

    order = stopped(
        ORDER, result, replace(STANDING_ORDER, schedule=schedule), Stage.PREPARE, PREPARED_AT
    )

    assert order.state is OrderState.SKIPPED


def instead(
    order: Order,
    conditions: tuple[Condition, ...],
    inputs: Inputs,
    refused: tuple[str, ...] = (),
) -> Order | None:
    """The order with what is taken where conditions want something else."""
    lacking = missing(order, inputs.quote, outcome_of(conditions, order, inputs))
    assert lacking is not None
    return substituted(order, lacking, consents_of(conditions), refused, PREPARED_AT)


def test_a_substitute_is_taken_in_the_same_quantity_and_under_the_same_ceiling() -> None:
    kind = UnitPriceCeiling("beans", 500, "EUR")
    conditions = (condition(kind, Action.SUBSTITUTE, substitute="chicory"),)

    order = instead(ORDER, conditions, TOO_DEAR)

    assert order is not None
    assert order.items == (Item("chicory", 2),)
    assert order.substitutes == {"beans": Substitute("chicory", "Beans")}
    assert outcome_of(conditions, order, Inputs(quote(400, "chicory"))).action is None
    assert instead(order, conditions, Inputs(quote(600, "chicory"))) is None


def test_substitutes_are_tried_in_the_order_of_the_customer() -> None:
    conditions = tuple(
        condition(InStock(), Action.SUBSTITUTE, substitute=substitute)
        for substitute in ("tea", "mate")
    )
    short = Inputs(quote(), short=frozenset({"beans"}))

    first = instead(ORDER, conditions, short)
    second = instead(ORDER, conditions, short, ("tea",))

    assert first is not None
    assert second is not None
    assert (first.items, second.items) == ((Item("tea", 2),), (Item("mate", 2),))
    # What is short of the first substitute gets the second, for the same product.
    after = instead(first, conditions, Inputs(quote(500, "tea"), short=frozenset({"tea"})))
    assert after is not None
    assert (after.items, after.substitutes) == (
        (Item("mate", 2),),
        {"beans": Substitute("mate", "Beans")},
    )
    assert instead(ORDER, conditions, short, ("tea", "mate")) is None


def test_a_product_that_is_gone_is_replaced_by_what_was_agreed_on_or_not_at_all() -> None:
    off_sale = Unpriced(
        (OrderReason.PRODUCT_UNAVAILABLE,), {"beans": "Beans"}, frozenset({"beans"})
    )
    agreed = consents_of([condition(InStock(), Action.SUBSTITUTE, substitute="tea")])
    lacking = missing(ORDER, off_sale, NO_OUTCOME)
    assert lacking is not None

    order = substituted(ORDER, lacking, agreed, (), PREPARED_AT)

    assert order is not None
    assert order.items == (Item("tea", 2),)
    assert substituted(ORDER, lacking, (), (), PREPARED_AT) is None
    assert left_without(ORDER, off_sale, agreed) == ()
    assert left_without(ORDER, off_sale, ()) == ("beans",)
    # What was taken for it goes off sale, too.
    gone = Unpriced(off_sale.reasons, {"tea": "Tea"}, frozenset({"beans", "tea"}))
    assert left_without(order, gone, agreed) == ("beans",)


def test_a_substitute_never_costs_more_than_the_notified_amount() -> None:
    announced = ORDER._replace(notified_minor=1000, currency="EUR")
    assert takable(announced, quote(500))
    assert not takable(announced, quote(501))
    assert takable(ORDER, quote(10_000))


def test_what_is_agreed_for_an_item_is_tried_before_what_a_condition_names() -> None:
    consents = consents_of(
        [condition(InStock(), Action.SUBSTITUTE, substitute="chicory")],
        [Item("beans", 2, ("tea", "mate"))],
    )
    lacking = missing(ORDER, quote(), NO_OUTCOME, {"beans"}, consents)
    assert lacking is not None

    order = substituted(ORDER, lacking, consents, (), PREPARED_AT)

    assert order is not None
    assert (order.items, order.substitutes) == (
        (Item("tea", 2),),
        {"beans": Substitute("tea", "Beans")},
    )
    after = substituted(ORDER, lacking, consents, ("tea", "mate"), PREPARED_AT)
    assert after is None


def test_an_item_out_of_stock_is_replaced_only_if_each_that_is_short_has_a_substitute() -> None:
    both = ORDER._replace(items=(Item("beans", 2), Item("sugar", 1)))
    (beans,) = quote().lines
    (sugar,) = quote(100, "sugar").lines
    found = Quote(1100, "EUR", (beans, sugar))
    consents = consents_of((), [Item("beans", 2, ("tea",)), Item("sugar", 1)])
    assert missing(both, found, NO_OUTCOME, {"beans", "sugar"}, consents) is None
    lacking = missing(both, found, NO_OUTCOME, {"beans"}, consents)
    assert lacking is not None
    assert list(lacking.titles) == ["beans"]


@given(
    before=st.integers(1, 10**6),
    after=st.integers(1, 10**6),
    quantities=st.tuples(st.integers(1, 100), st.integers(1, 100)),
)
def test_a_substitute_of_an_item_costs_no_more_a_unit(
    before: int, after: int, quantities: tuple[int, int]
) -> None:
    first, second = quantities
    consents = consents_of((), [Item("beans", first, ("tea",))])
    order = ORDER._replace(
        items=(Item("tea", second),), substitutes={"beans": Substitute("tea", "Beans")}
    )
    (line,) = quote(after, "tea").lines
    found = Quote(after, "EUR", (line._replace(quantity=second, amount_minor=after),))
    amounts = {"beans": ItemAmount(before, first, "EUR")}
    is_above = Fraction(after, second) > Fraction(before, first)
    assert bool(dearer(ORDER, amounts, order, found, consents)) == is_above
    # Of what a condition names, its own ceiling decides. What has no known price is refused.
    assert not dearer(ORDER, amounts, order, found, [])
    assert dearer(ORDER, {}, order, found, consents) == {"tea"}


def test_a_substitute_that_is_ordered_anyway_is_ordered_once_with_the_sum() -> None:
    both = ORDER._replace(items=(Item("beans", 2), Item("tea", 3)))
    (beans,) = quote().lines
    (tea,) = quote(500, "tea").lines
    inputs = Inputs(Quote(2000, "EUR", (beans, tea)), short=frozenset({"beans"}))

    order = instead(both, (condition(InStock(), Action.SUBSTITUTE, substitute="tea"),), inputs)

    assert order is not None
    assert order.items == (Item("tea", 5),)


def test_an_announced_order_is_judged_by_what_it_will_be_charged() -> None:
    announced = ORDER._replace(notified_minor=1000, currency="EUR", lines=quote().lines)

    assert as_charged(announced, quote(700)).amount_minor == 1000
    assert as_charged(announced, quote(400)).amount_minor == 800


def test_what_expressions_take_together_is_bounded() -> None:
    # Each of them alone would do.
    most = f"items.all(i, {' && '.join(['i.quantity < 9'] * 15)})"
    inputs = Inputs(Quote(100, "EUR", (Line("tea", "Tea", 1, 1, 1, "p", 1, 1),) * 100))
    order = ORDER._replace(items=(Item("tea", 1),) * 100)
    assert outcome_of([condition(Expression(most))], order, inputs).action is None
    outcome = outcome_of([condition(Expression(most))] * 2, order, inputs)
    assert [unmet.words for unmet in outcome.unmet] == ["The expression has no value."]
