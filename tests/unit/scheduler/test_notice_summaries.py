"""What `explain` says of the messages about an order."""

import pytest
from recurring.notify.v1 import notify_pb2

from services.scheduler.application.orders import notice_decisions

Delivery = notify_pb2.Notice.Delivery


@pytest.mark.parametrize(
    ("deliveries", "summary"),
    [
        (
            [Delivery(channel=notify_pb2.SMS, state=Delivery.DELIVERED)],
            "ORDER_UPCOMING by SMS was delivered.",
        ),
        (
            [
                Delivery(channel=notify_pb2.SMS, state=Delivery.FAILED, failure_code="undelivered"),
                Delivery(channel=notify_pb2.EMAIL, state=Delivery.DELIVERED),
            ],
            "ORDER_UPCOMING by SMS failed (undelivered), by EMAIL was delivered.",
        ),
        (
            [Delivery(channel=notify_pb2.SMS, state=Delivery.VOIDED, failure_code="SUPERSEDED")],
            "ORDER_UPCOMING by SMS was not sent (SUPERSEDED).",
        ),
        (
            [Delivery(channel=notify_pb2.SMS, state=Delivery.PENDING)],
            "ORDER_UPCOMING by SMS is to be sent.",
        ),
        (
            [
                Delivery(
                    channel=notify_pb2.SMS,
                    state=Delivery.PENDING,
                    attempt_count=2,
                    failure_code="UNREACHABLE",
                )
            ],
            "ORDER_UPCOMING by SMS was tried and is tried again (UNREACHABLE).",
        ),
        ([], "ORDER_UPCOMING was not sent: the customer does not want it."),
    ],
)
def test_each_delivery_is_said_to_be_what_it_is(deliveries: list[Delivery], summary: str) -> None:
    notice = notify_pb2.Notice(kind=notify_pb2.ORDER_UPCOMING, deliveries=deliveries)
    [decision] = notice_decisions([notice])
    assert decision.summary == summary
