"""Tests of the state machines of standing orders and orders."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.db.statements import Command, Query
from services.runtime.transitions import IllegalTransitionError
from services.scheduler import store
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Order,
    OrderReason,
    OrderState,
    Stage,
)
from services.scheduler.domain.order_lifecycle import (
    Evaluation,
    cancelled,
    collected,
    held,
    late_payment_ended,
    opened,
    paid,
    paid_late,
    restored,
    skipped,
    unpaid,
)
from services.scheduler.domain.standing_order import State
from services.scheduler.domain.transitions import (
    ORDER,
    STANDING_ORDER,
    OrderEvent,
    StandingOrderEvent,
)
from tests.unit.scheduler.test_order import DUE, announced, quote

ONE_DAY = timedelta(days=1)
DECLINED = OrderReason.PAYMENT_DECLINED
CHANGES: dict[OrderEvent, Callable[[Order], Order]] = {
    OrderEvent.ANNOUNCE: lambda o: opened(o, Evaluation(quote(1000)), DUE),
    OrderEvent.HOLD: lambda o: held(o, (OrderReason.OUT_OF_STOCK,), Stage.COLLECT, DUE),
    OrderEvent.COLLECT: lambda o: collected(o, quote(1000), (), DUE),
    OrderEvent.PAY: lambda o: paid(o, DUE, {}, DUE),
    OrderEvent.PAY_LATE: lambda o: paid_late(o, DUE, {}, DUE),
    OrderEvent.LAPSE: lambda o: unpaid(o, OrderReason.PAYMENT_DECLINED, {}, DUE, DUE + ONE_DAY),
    OrderEvent.SKIP: lambda o: skipped(o, OrderReason.SKIPPED_BY_CUSTOMER, DUE),
    OrderEvent.RESTORE: lambda o: restored(o, DUE),
    OrderEvent.CANCEL: lambda o: cancelled(o, OrderReason.PAUSED, DUE),
}


@given(st.lists(st.sampled_from(OrderEvent)))
def test_an_order_is_paid_once_at_most_and_stays_what_it_became(events: list[OrderEvent]) -> None:
    state, payments = OrderState.UPCOMING, 0
    for event in events:
        if state not in ORDER.sources(event):
            continue
        assert not ORDER.is_terminal(state)
        state = ORDER.to(state, event)
        payments += event in {OrderEvent.PAY, OrderEvent.PAY_LATE}
    assert payments == (state is OrderState.PAID)


@given(st.lists(st.sampled_from(OrderEvent)))
def test_what_changes_an_order_follows_the_table(events: list[OrderEvent]) -> None:
    order = announced()
    for event in events:
        if order.state in ORDER.sources(event):
            expected = ORDER.to(order.state, event)
            order = CHANGES[event](order)
            assert order.state is expected
        else:
            with pytest.raises(IllegalTransitionError):
                CHANGES[event](order)


def test_an_order_that_lapsed_is_paid_late_only_while_that_is_open() -> None:
    lapsed = unpaid(collected(announced(), quote(1000), (), DUE), DECLINED, {}, DUE)
    with pytest.raises(IllegalTransitionError):
        paid_late(lapsed, DUE, {}, DUE)
    payable = unpaid(collected(announced(), quote(1000), (), DUE), DECLINED, {}, DUE, DUE + ONE_DAY)
    with pytest.raises(IllegalTransitionError):
        paid_late(late_payment_ended(payable, {}, DUE), DUE, {}, DUE)
    settled = paid_late(payable, DUE, {}, DUE)
    assert (settled.state, settled.reasons) == (OrderState.PAID, (OrderReason.PAID_LATE,))


def test_what_can_be_called_off_is_what_can_be_left_out() -> None:
    assert frozenset(WITHDRAWABLE_STATES) == ORDER.sources(OrderEvent.SKIP)


@given(st.lists(st.sampled_from(StandingOrderEvent)))
def test_a_standing_order_that_is_over_never_bills_again(events: list[StandingOrderEvent]) -> None:
    state, over = State.ACTIVE, False
    for event in events:
        if state in STANDING_ORDER.sources(event):
            assert not over
            state = STANDING_ORDER.to(state, event)
        over = over or event in {StandingOrderEvent.CANCEL, StandingOrderEvent.COMPLETE}
    assert over == (state in {State.CANCELLED, State.COMPLETED})


def test_every_state_is_reached() -> None:
    assert {OrderState.UPCOMING, *ORDER.table.values()} == set(OrderState)
    assert {State.ACTIVE, *STANDING_ORDER.table.values()} == set(State)


# What statements mean when they name several states.
STATES_TOGETHER = {
    "open": ORDER.sources(OrderEvent.LAPSE),
    "withdrawable": ORDER.sources(OrderEvent.SKIP),
    "holds units in the catalog, or has taken them": frozenset(
        {OrderState.AWAITING_PAYMENT, OrderState.PAID}
    ),
    "live": STANDING_ORDER.sources(StandingOrderEvent.CANCEL),
    "ended": frozenset(state for state in State if STANDING_ORDER.is_terminal(state)),
}


CONDITION = re.compile(r"\bstate(?: \|\| '')? (?:= '\w+'|IN \([^)]*\))")


def conditions_on_states() -> Iterator[tuple[str, frozenset[str]]]:
    """Each condition of a statement on a state, and the states that meet it."""
    for module in pkgutil.iter_modules(store.__path__, f"{store.__name__}."):
        for name, statement in vars(importlib.import_module(module.name)).items():
            if isinstance(statement, Query | Command):
                for listed in CONDITION.findall(statement.sql):
                    yield f"{module.name}.{name}", frozenset(re.findall(r"'([A-Z_]+)'", listed))


@pytest.mark.parametrize(("statement", "states"), list(conditions_on_states()))
def test_a_statement_names_states_that_belong_together(
    statement: str, states: frozenset[str]
) -> None:
    assert states <= {*OrderState, *State}, statement
    assert len(states) == 1 or states in STATES_TOGETHER.values(), statement
