"""What the links of notices offer, and what of that is possible."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.action_links import (
    LINK_LIFETIME,
    ActionLink,
    LinkAction,
    link_of_order,
    offered_with_order,
    possible_actions,
)
from services.scheduler.domain.order import Order, OrderReason, OrderState
from services.scheduler.domain.standing_order import State
from tests.unit.scheduler.test_imported_cycles import NOW, standing_order
from tests.unit.scheduler.test_order import ORDER

orders = st.builds(
    lambda state, reasons: ORDER._replace(state=state, reasons=reasons),
    st.sampled_from(OrderState),
    st.sampled_from([(), (OrderReason.OUT_OF_STOCK,), (OrderReason.PURCHASED_ELSEWHERE,)]),
)


def link_to(*actions: LinkAction) -> ActionLink:
    return ActionLink(*ORDER.key, actions, NOW + LINK_LIFETIME)


@given(
    order=st.none() | orders,
    state=st.sampled_from(State),
    offered=st.lists(st.sampled_from(LinkAction), unique=True),
)
def test_nothing_is_possible_that_was_not_offered(
    order: Order | None, state: State, offered: list[LinkAction]
) -> None:
    now = possible_actions(link_to(*offered), replace(standing_order(), state=state), order)

    assert set(now) <= set(offered)
    if state in {State.CANCELLED, State.COMPLETED}:
        assert not set(now) - {LinkAction.CONFIRM}


@given(order=orders)
def test_a_link_that_was_used_offers_nothing(order: Order) -> None:
    used = replace(link_to(*LinkAction), use_time=NOW, used_action=LinkAction.SKIP)

    assert possible_actions(used, standing_order(), order) == ()


def test_what_an_announced_order_offers_is_possible_until_it_is_charged() -> None:
    offered = offered_with_order(ORDER)
    paid = ORDER._replace(state=OrderState.PAID)

    assert offered == (LinkAction.SKIP, LinkAction.PAUSE, LinkAction.CANCEL)
    assert possible_actions(link_to(*offered), standing_order(), ORDER) == offered
    assert LinkAction.SKIP not in possible_actions(link_to(*offered), standing_order(), paid)


def test_an_order_is_confirmed_only_while_the_customer_is_asked() -> None:
    asked = ORDER._replace(state=OrderState.HELD, reasons=(OrderReason.PURCHASED_ELSEWHERE,))

    assert LinkAction.CONFIRM in offered_with_order(asked)
    assert LinkAction.CONFIRM not in offered_with_order(ORDER)


def test_a_link_holds_until_the_order_is_charged_however_far_that_is() -> None:
    early, late = ORDER.due_time - timedelta(days=300), ORDER.due_time - timedelta(days=2)

    assert link_of_order(ORDER, early).expire_time == ORDER.due_time
    assert link_of_order(ORDER, late).expire_time == late + LINK_LIFETIME
