"""Events about orders that a scheduler whose database lost its last seconds does not know yet."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.scheduler.application.order_updates import (
    AheadOfOrderError,
    OrderUpdate,
    awaits_payment,
    check_not_ahead,
)
from services.scheduler.consumers import NOT_COLLECTED
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.names import ORDER

KEY: OrderKey = ORDER.key("merchants/acme/standingOrders/tea/orders/2")


def update(states_before: frozenset[OrderState]) -> OrderUpdate:
    nothing = cast("Any", None)
    return OrderUpdate(KEY, nothing, awaits_payment, nothing, states_before)


def known(state: OrderState) -> dict[OrderKey, Order]:
    return {KEY: cast("Order", SimpleNamespace(state=state))}


@pytest.mark.parametrize("states_before", [frozenset(), NOT_COLLECTED])
def test_an_event_about_an_order_that_is_not_there_fails_and_so_comes_again(
    states_before: frozenset[OrderState],
) -> None:
    with pytest.raises(AheadOfOrderError):
        check_not_ahead([update(states_before)], {})


@pytest.mark.parametrize("state", list(OrderState))
def test_payments_speaks_of_no_order_that_was_not_collected(state: OrderState) -> None:
    if state in NOT_COLLECTED:
        with pytest.raises(AheadOfOrderError):
            check_not_ahead([update(NOT_COLLECTED)], known(state))
    else:
        check_not_ahead([update(NOT_COLLECTED)], known(state))
