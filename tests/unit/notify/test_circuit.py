"""When a gateway is left alone, and what becomes of its messages meanwhile."""

from datetime import UTC, datetime, timedelta

from services.notify.domain.circuit import FAILURES_MAX, OPEN_TIME, Circuit
from services.notify.domain.notices import (
    DELIVERY_LIFETIME,
    FAILURE_GATEWAY_AWAY,
    Attempt,
    Channel,
    Delivery,
    Verdict,
    progress,
)
from services.notify.domain.transitions import DeliveryState

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


def opened() -> Circuit:
    circuit = Circuit()
    assert [circuit.failed(NOW) for _ in range(FAILURES_MAX)].index(True) == FAILURES_MAX - 1
    return circuit


def test_a_gateway_that_takes_one_in_between_is_not_left_alone() -> None:
    circuit = Circuit()
    for _ in range(FAILURES_MAX - 1):
        circuit.failed(NOW)
    circuit.works()

    assert circuit.failure_count == 0
    assert not circuit.failed(NOW)
    assert circuit.open_until(NOW) is None


def test_a_gateway_that_takes_none_is_left_alone_for_a_while() -> None:
    circuit = opened()

    assert circuit.open_until(NOW) == NOW + OPEN_TIME
    assert circuit.open_until(NOW + OPEN_TIME) is None
    assert circuit.failure_count == FAILURES_MAX


def test_the_first_that_fails_after_that_opens_the_circuit_again() -> None:
    circuit, later = opened(), NOW + OPEN_TIME

    assert circuit.failed(later)
    assert circuit.open_until(later) == later + OPEN_TIME


def test_those_under_way_when_it_opens_do_not_open_it_anew() -> None:
    circuit = opened()

    assert not circuit.failed(NOW + timedelta(seconds=1))
    assert circuit.open_until(NOW) == NOW + OPEN_TIME


def test_what_waits_for_a_gateway_has_not_been_tried() -> None:
    delivery = Delivery(
        channel=Channel.SMS,
        main=True,
        state=DeliveryState.PENDING,
        subject="",
        text="Hello",
        secret_text=None,
        next_attempt_time=NOW,
        give_up_time=NOW + DELIVERY_LIFETIME,
    )
    left_alone = Attempt(Verdict.NOT_TRIED, FAILURE_GATEWAY_AWAY, retry_time=NOW + OPEN_TIME)
    made = progress(delivery, left_alone, NOW)

    assert (made.state, made.attempt_count) == (DeliveryState.PENDING, 0)
    assert (made.next_attempt_time, made.failure_code) == (NOW + OPEN_TIME, FAILURE_GATEWAY_AWAY)
