"""What conditions say of an order, and what becomes of it."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest

from services.scheduler.domain import expressions
from services.scheduler.domain.conditions import (
    Action,
    Condition,
    DaysSinceLastOrder,
    Expression,
    Facts,
    InStock,
    Kind,
    MonthCeiling,
    Otherwise,
    Past,
    Ruling,
    TotalCeiling,
    UnitPriceCeiling,
    rule,
)
from services.scheduler.domain.order import (
    Findings,
    Item,
    Line,
    Order,
    OrderKey,
    OrderReason,
    OrderState,
    Quote,
    Stage,
    confirmed,
)
from services.scheduler.domain.rulings import as_charged, prepared, stopped, substituted
from services.scheduler.domain.schedule import EndAfter, Monthly, Schedule
from services.scheduler.domain.standing_order import NOTICE_HEADROOM, StandingOrder, at_cycle
from services.scheduler.domain.terms import BillingMode, Terms

DUE = datetime(2027, 1, 31, 12, tzinfo=UTC)
LEAD = timedelta(hours=72)
PREPARED_AT = DUE - LEAD - NOTICE_HEADROOM
TERMS = Terms("Coffee", BillingMode.PAY_ON_NOTICE, "", timedelta(hours=72), "UTC")
ORDER = Order(
    key=OrderKey("acme", "coffee", 1),
    customer="ada",
    local_date=date(2027, 1, 31),
    due_time=DUE,
    notice_lead=LEAD,
    hold_until_time=DUE + timedelta(days=3),
    state=OrderState.UPCOMING,
    terms=TERMS,
    items=(Item("beans", 2),),
)
TEMPLATE = at_cycle(
    StandingOrder(
        merchant="acme",
        standing_order="coffee",
        customer="ada",
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
    line = Line(product, "Beans", 2, unit_price_minor, 2 * unit_price_minor, "p", 500, "LIST_PRICE")
    return Quote(2 * unit_price_minor, "EUR", (line,))


def condition(kind: Kind, action: Action = Action.SKIP, **how: object) -> Condition:
    return Condition(kind, Otherwise(action, **how))  # type: ignore[arg-type]


def ruling(kind: Kind, facts: Facts, action: Action = Action.SKIP, **how: object) -> Ruling:
    return rule((condition(kind, action, **how),), ORDER, facts)


TOO_DEAR = Facts(quote(700))
CEILING = TotalCeiling(1000, "EUR")
SPENT = Past(spent_minor={(2027, 1, "EUR"): 300, (2026, 12, "EUR"): 9000, (2027, 1, "USD"): 9000})
DRUNK = Past(last_dates={"beans": date(2027, 1, 20), "tea": date(2027, 1, 30)})


@pytest.mark.parametrize(
    ("kind", "facts", "holds"),
    [
        (UnitPriceCeiling("beans", 500, "EUR"), Facts(quote()), True),
        (UnitPriceCeiling("beans", 499, "EUR"), Facts(quote()), False),
        (UnitPriceCeiling("tea", 1, "EUR"), Facts(quote()), True),
        (TotalCeiling(1000, "EUR"), Facts(quote()), True),
        (TotalCeiling(999, "EUR"), Facts(quote()), False),
        (TotalCeiling(1000, "USD"), Facts(quote()), False),
        (MonthCeiling(1300, "EUR"), Facts(quote(), SPENT), True),
        (MonthCeiling(1299, "EUR"), Facts(quote(), SPENT), False),
        (InStock(), Facts(quote(), short=frozenset({"tea"})), True),
        (InStock(), Facts(quote(), short=frozenset({"beans"})), False),
        (DaysSinceLastOrder(11), Facts(quote(), DRUNK), True),
        (DaysSinceLastOrder(12), Facts(quote(), DRUNK), False),
        (Expression("total <= 1000 && weekday == 7 && month == 1"), Facts(quote()), True),
        (Expression("items.all(i, i.product == 'tea')"), Facts(quote()), False),
        (Expression("total / paid_orders > 1"), Facts(quote()), False),
    ],
    ids=repr,
)
def test_a_condition_holds_up_to_its_bound(kind: Kind, facts: Facts, holds: bool) -> None:  # noqa: FBT001
    assert (ruling(kind, facts).action is None) is holds


def test_of_several_conditions_that_do_not_hold_the_first_decides() -> None:
    found = rule(
        (
            condition(TotalCeiling(2000, "EUR"), Action.SKIP),
            condition(CEILING, Action.HOLD_AND_ASK),
            condition(CEILING, Action.SKIP),
        ),
        ORDER,
        TOO_DEAR,
    )

    assert found.action is Action.HOLD_AND_ASK
    assert len(found.unmet) == 2


def test_an_order_left_out_says_which_condition_did_not_hold() -> None:
    found = ruling(CEILING, TOO_DEAR)

    order = prepared(ORDER, Findings(quote(700)), found, TEMPLATE, PREPARED_AT)

    assert (order.state, order.reasons) == (OrderState.SKIPPED, (OrderReason.CONDITION_NOT_MET,))
    [decision] = order.decisions
    assert "above its ceiling" in decision.summary
    assert decision.data["conditions"][0]["amount_minor"] == 1400


def test_an_order_whose_conditions_hold_says_so_and_goes_on() -> None:
    order = prepared(
        ORDER, Findings(quote()), ruling(CEILING, Facts(quote())), TEMPLATE, PREPARED_AT
    )

    assert order.state is OrderState.UPCOMING
    assert [one.kind for one in order.decisions] == ["CONDITIONS_HOLD", "PREPARED"]


def test_a_customer_who_said_yes_is_not_asked_again_in_the_same_cycle() -> None:
    asked = stopped(
        ORDER,
        ruling(CEILING, TOO_DEAR, Action.HOLD_AND_ASK),
        TEMPLATE,
        Stage.PREPARE,
        PREPARED_AT,
    )
    assert asked.state is OrderState.HELD

    going_on = confirmed(asked, PREPARED_AT)

    conditions = (condition(CEILING, Action.HOLD_AND_ASK),)
    assert going_on.recheck_time == PREPARED_AT
    assert rule(conditions, going_on, TOO_DEAR).action is None


def test_a_yes_does_not_waive_what_leaves_the_cycle_out() -> None:
    going_on = replace(ORDER, confirmed_reasons=(OrderReason.CONDITION_NOT_MET,))

    assert rule((condition(CEILING, Action.SKIP),), going_on, TOO_DEAR).action is Action.SKIP


def test_nobody_who_says_nothing_gets_the_order() -> None:
    found = ruling(CEILING, TOO_DEAR, Action.HOLD_AND_ASK)

    order = stopped(ORDER, found, TEMPLATE, Stage.PREPARE, ORDER.hold_until_time)

    assert order.state is OrderState.LAPSED
    assert order.reasons == (OrderReason.CONDITION_NOT_MET, OrderReason.HOLD_EXPIRED)


def test_a_deferred_order_is_prepared_anew_for_its_later_date() -> None:
    found = ruling(CEILING, TOO_DEAR, Action.DEFER, defer_days=5)

    order = stopped(ORDER, found, TEMPLATE, Stage.PREPARE, PREPARED_AT)

    assert (order.state, order.held_stage) == (OrderState.HELD, Stage.PREPARE)
    assert order.due_time == DUE + timedelta(days=5)
    assert order.recheck_time == PREPARED_AT + timedelta(days=5)
    assert order.hold_until_time > order.due_time


def test_an_order_deferred_at_its_due_time_is_looked_at_again_on_the_later_date() -> None:
    found = ruling(CEILING, TOO_DEAR, Action.DEFER, defer_days=1)

    order = stopped(ORDER, found, TEMPLATE, Stage.COLLECT, DUE)

    assert order.recheck_time == order.due_time == DUE + timedelta(days=1)


def test_an_order_is_not_deferred_onto_the_next_cycle_even_after_the_last() -> None:
    last_day = ruling(CEILING, TOO_DEAR, Action.DEFER, defer_days=27)
    next_cycle = ruling(CEILING, TOO_DEAR, Action.DEFER, defer_days=28)

    deferred = stopped(ORDER, last_day, TEMPLATE, Stage.PREPARE, PREPARED_AT)
    left_out = stopped(ORDER, next_cycle, TEMPLATE, Stage.PREPARE, PREPARED_AT)

    assert deferred.state is OrderState.HELD
    assert deferred.hold_until_time == datetime(2027, 2, 28, 12, tzinfo=UTC)
    assert left_out.state is OrderState.SKIPPED


def test_a_substitute_is_taken_in_the_same_quantity_and_never_substituted_again() -> None:
    kind = UnitPriceCeiling("beans", 500, "EUR")
    found = ruling(kind, TOO_DEAR, Action.SUBSTITUTE, substitute="chicory")

    order = substituted(ORDER, found, PREPARED_AT)

    assert order is not None
    assert order.items == (Item("chicory", 2),)
    conditions = (condition(kind, Action.SUBSTITUTE, substitute="chicory"),)
    assert rule(conditions, order, Facts(quote(400, "chicory"))).action is None
    too_dear_too = rule(conditions, order, Facts(quote(600, "chicory")))
    assert substituted(order, too_dear_too, PREPARED_AT) is None


def test_a_substitute_that_is_ordered_anyway_is_ordered_once_with_the_sum() -> None:
    both = replace(ORDER, items=(Item("beans", 2), Item("tea", 3)))
    found = rule(
        (condition(InStock(), Action.SUBSTITUTE, substitute="tea"),),
        both,
        Facts(Quote(0, "EUR", ()), short=frozenset({"beans"})),
    )

    order = substituted(both, found, PREPARED_AT)

    assert order is not None
    assert order.items == (Item("tea", 5),)


def test_an_announced_order_is_judged_by_what_it_will_be_charged() -> None:
    announced = replace(ORDER, notified_minor=1000, currency="EUR", lines=quote().lines)

    assert as_charged(announced, quote(700)).amount_minor == 1000
    assert as_charged(announced, quote(400)).amount_minor == 800


@pytest.mark.parametrize(
    "source",
    [
        "total <= 2000",
        "currency in ['EUR', 'USD'] || paid_orders < 3",
        "items.exists(i, i.unit_price > i.list_unit_price) && weekday != 7",
        "items.filter(i, i.quantity > 1).all(i, i.unit_price < 900)",
        "total / (cycle - 1) > 2",
        "items[3].quantity > 1",
        " || ".join(["day < 5"] * 40),
    ],
)
def test_an_expression_that_can_be_true_or_false_is_sound(source: str) -> None:
    assert expressions.fault(source) is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "characters"),
        ("true || " * 70 + "true", "characters"),
        ("total <", "parse"),
        ("total", "true or false"),
        ("true || 5", "true or false"),
        ("total < 'a lot'", "type"),
        ("price < 5", "knows no 'price'"),
        ("true || price < 5", "knows no 'price'"),
        ("items.all(i, true || i.colour == 'red')", "knows no 'colour'"),
        ("items.all(i)", "evaluated"),
        ("items.all(i, items.all(j, j == i))", "macro inside"),
        ("items.map(i, [i]).map(i, i + i).all(i, true)", "map gives"),
        ("(" * 200 + "true" + ")" * 200, "deeply"),
        ("currency.matches('(')", "evaluated"),
        ("items.reduce(r, i, 'a', r + r) == ''", "knows no 'reduce'"),
        ("[3, 1].min() == 1", "knows no 'min'"),
    ],
)
def test_any_other_expression_is_refused_with_the_reason(source: str, words: str) -> None:
    assert words in (expressions.fault(source) or "")


LONG = "items.all(i, " + " && ".join(["i.quantity < 9"] * 25) + ")"


def variables(item_count: int) -> expressions.Variables:
    line = Line("tea", "Tea", 1, 100, 100, "p1", 100, "LIST_PRICE")
    items = (Item("tea", 1),) * item_count
    quote = Quote(100 * item_count, "EUR", (line,) * item_count)
    return expressions.variables_of(
        quote, items, cycle=1, month_day_weekday=(1, 31, 7), paid_orders=0
    )


def test_an_expression_that_takes_too_many_steps_has_no_value() -> None:
    assert expressions.holds(LONG, variables(2)) is True
    assert expressions.holds(LONG, variables(100)) is None


def test_it_is_refused_when_it_is_saved_if_the_items_could_make_it_take_too_many() -> None:
    assert expressions.fault(LONG, 2) is None
    assert "steps for an order of 100 items" in (expressions.fault(LONG, 100) or "")


def test_a_list_that_is_made_longer_takes_no_more_steps_than_are_allowed() -> None:
    source = "(" + " + ".join(["items"] * 40) + ").all(i, i.quantity < 9)"
    assert expressions.fault(source, 1) is None
    assert expressions.holds(source, variables(1)) is True
    assert expressions.holds(source, variables(50)) is None


@pytest.mark.parametrize(
    "source",
    [
        "items.all(i, " + " && ".join(["items == items"] * 20) + ")",
        "string(items.map(i, [items, items, items, items])).size() > 3",
    ],
)
def test_what_is_done_with_a_list_takes_as_many_steps_as_it_has_elements(source: str) -> None:
    assert expressions.fault(source, 1) is None
    assert expressions.holds(source, variables(100)) is None


@pytest.mark.parametrize(
    ("pattern", "answer"), [("^[a-z0-9-]{1,63}$", None), ("(\\\\PL?){440}", "evaluated")]
)
def test_a_pattern_is_compiled_only_if_it_is_small(pattern: str, answer: str | None) -> None:
    found = expressions.fault(f"items.exists(i, i.product.matches('{pattern}'))")
    assert found is None if answer is None else answer in (found or "")


def test_every_item_of_the_longest_order_can_be_compared() -> None:
    source = "items.all(i, i.unit_price <= i.list_unit_price && i.quantity < 9)"
    assert expressions.fault(source, 100) is None
    assert expressions.holds(source, variables(100)) is True
