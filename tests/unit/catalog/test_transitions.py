"""Tests of the state machines of products and holds."""

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.products import ProductState
from services.catalog.domain.transitions import HOLD, PRODUCT, HoldEvent, HoldState, ProductEvent


@given(st.lists(st.sampled_from(ProductEvent), min_size=1))
def test_a_product_that_went_off_sale_never_comes_back(events: list[ProductEvent]) -> None:
    state = ProductState.ACTIVE
    for event in events:
        if not PRODUCT.is_terminal(state):
            state = PRODUCT.to(state, event)
    assert state is ProductState.DISCONTINUED


@given(st.lists(st.sampled_from(HoldEvent)))
def test_units_leave_the_stock_once_whatever_comes_in_any_order(events: list[HoldEvent]) -> None:
    state, commits = HoldState.HELD, 0
    for event in events:
        if state in HOLD.sources(event):
            state = HOLD.to(state, event)
            commits += event in {HoldEvent.COMMIT, HoldEvent.SERVE}
    assert commits == (state is HoldState.COMMITTED)
