"""Tests of the state machine of deliveries."""

from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.transitions import DELIVERY, DeliveryEvent, DeliveryState


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
