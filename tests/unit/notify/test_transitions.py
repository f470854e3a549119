"""Tests of the state machines of deliveries and phone codes."""

from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.transitions import (
    DELIVERY,
    PHONE_CODE,
    CodeEvent,
    CodeState,
    DeliveryEvent,
    DeliveryState,
)


@given(st.lists(st.sampled_from(DeliveryEvent)))
def test_a_message_that_arrived_stays_delivered_whatever_comes(events: list[DeliveryEvent]) -> None:
    state, arrived = DeliveryState.PENDING, False
    for event in events:
        if state in DELIVERY.sources(event):
            state = DELIVERY.to(state, event)
            arrived = arrived or event is DeliveryEvent.DELIVER
    assert arrived == (state is DeliveryState.DELIVERED)


def test_only_a_pending_message_is_tried_again() -> None:
    assert DELIVERY.sources(DeliveryEvent.POSTPONE) == {DeliveryState.PENDING}
    assert DELIVERY.is_terminal(DeliveryState.DELIVERED)
    assert DELIVERY.is_terminal(DeliveryState.FAILED)


@given(st.lists(st.sampled_from(CodeEvent)))
def test_a_code_proves_a_phone_once_at_most(events: list[CodeEvent]) -> None:
    state, uses = CodeState.PENDING, 0
    for event in events:
        if state in PHONE_CODE.sources(event):
            state = PHONE_CODE.to(state, event)
            uses += event is CodeEvent.USE
    assert uses == (state is CodeState.USED)
