from datetime import UTC, datetime

import pytest
from google.protobuf.message import Message
from recurring.catalog.v1 import events_pb2 as catalog
from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent
from recurring.notify.v1 import events_pb2 as notify
from recurring.payments.v1 import events_pb2 as payments
from recurring.scheduler.v1 import events_pb2 as scheduler

from cli.events import SeenEvent, describe_event, read_event
from cli.values import from_minor, to_timestamp

OCCURRED = datetime(2026, 3, 31, 7, tzinfo=UTC)
PARTS = {"ChargeRef", "OrderRef", "ChargePromise", "SubscriberPriceChange", "PaymentLine"}
EVENT_TYPES = [
    file.DESCRIPTOR.message_types_by_name[name].full_name
    for file in (catalog, scheduler, payments, notify)
    for name in file.DESCRIPTOR.message_types_by_name
    if name not in PARTS
]


def seen(message: Message) -> SeenEvent:
    event = of_type(message.DESCRIPTOR.full_name)
    event.proto_data.Pack(message)
    return read_event(event)


def of_type(event_type: str) -> CloudEvent:
    event = CloudEvent(type=event_type)
    event.attributes["time"].ce_timestamp.FromDatetime(OCCURRED)
    event.attributes["tenant"].ce_string = "demo"
    return event


def test_an_event_is_decoded_by_its_type() -> None:
    due = scheduler.PaymentDue(amount=from_minor(12_50, "EUR"))
    due.ref.customer = "merchants/demo/customers/ada"
    event = seen(due)
    assert (event.name, event.customer, event.message) == ("PaymentDue", "ada", due)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_event_is_put_in_words(event_type: str) -> None:
    assert describe_event(read_event(of_type(event_type)))


def test_a_decline_says_when_it_is_tried_again() -> None:
    declined = payments.PaymentDeclined(
        attempt=1, decline_code="insufficient_funds", next_attempt_time=to_timestamp(OCCURRED)
    )
    declined.ref.title = "Lenses"
    declined.ref.amount.CopyFrom(from_minor(29_90, "EUR"))
    declined.ref.order = "merchants/demo/standingOrders/lenses/orders/1"
    assert describe_event(seen(declined)) == (
        "Lenses, lenses/1, 29.90 EUR, attempt 1: insufficient_funds, again 2026-03-31 07:00Z"
    )


def test_somebody_elses_message_is_no_event() -> None:
    with pytest.raises(KeyError):
        read_event(of_type("another.system.v1.Thing"))
