"""Every event that customers are notified of: one notice a fact, however often it comes."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2

from services.notify import consumers
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.notify.suite import ANN, DUE, MERCHANT, PHONE, Notify, order_confirmed

ADDRESS = "ann@shop.example"
# What every event of the contracts may name.
NAMES = {
    "customer": ANN,
    "order": f"{MERCHANT}/standingOrders/coffee/orders/1",
    "standing_order": f"{MERCHANT}/standingOrders/coffee",
    "product": f"{MERCHANT}/products/espresso",
    "payment_method": f"{ANN}/paymentMethods/card",
    "document": f"{MERCHANT}/documents/1",
    "time_zone": "Europe/Berlin",
    "title": "Coffee",
    "product_title": "Espresso",
    "link_uri": "https://shop.example/pay",
    "action_uri": "https://bank.example/confirm",
}
EVENTS = [
    message_type
    for readers in consumers.READERS.values()
    for message_type, reader in readers
    if reader is not consumers.about_order
]


def filled(message: Any) -> Any:  # noqa: ANN401 - any event
    """An event in which every field that its notice reads has a value."""
    for field in message.DESCRIPTOR.fields:
        if field.name in NAMES:
            setattr(message, field.name, NAMES[field.name])
        elif field.name == "changes":
            filled(message.changes.add())
        elif field.is_repeated:
            continue
        elif field.name == "ref":
            filled(message.ref)
        elif field.type == FieldDescriptor.TYPE_ENUM:
            setattr(message, field.name, 1)
        elif field.message_type is not None:
            fill_value(getattr(message, field.name), field.message_type.full_name)
    return message


def fill_value(value: Any, name: str) -> None:  # noqa: ANN401 - of any type
    if name == "google.type.Money":
        value.CopyFrom(to_money(1250, "EUR"))
    elif name == "google.protobuf.Timestamp":
        value.CopyFrom(to_timestamp(DUE))
    elif name == "google.type.Date":
        value.year, value.month, value.day = 2026, 2, 1


def notifying_events() -> Iterator[tuple[str, Any]]:
    for message_type in EVENTS:
        message = filled(message_type())
        if message_type.DESCRIPTOR.name == "OrderLapsed":
            message.ClearField("late_payment_until_time")
        if message_type.DESCRIPTOR.name == "DocumentIssued":
            message.email_to_customer = True
        if message_type.DESCRIPTOR.name == "DisputeClosed":
            message.state = payments_pb2.Dispute.WON
        yield message_type.DESCRIPTOR.name, message


async def test_an_event_that_comes_again_makes_no_second_notice(notify: Notify) -> None:
    await notify.contact(email=ADDRESS)
    await notify.bind()
    for name, message in notifying_events():
        before = len(await notify.notices())
        if name == "SubscriberPriceChangeWithdrawn":
            # It is news to who got the notice of the change, which is the one before.
            message.notice = (await notify.notices())[-1].name
        await notify.receive(message, event_key=name)
        await notify.receive(message, event_key=name)
        [notice] = (await notify.notices())[before:]
        channels = [delivery.channel for delivery in notice.deliveries]
        await notify.deliver()
        sent = len(await notify.inbox()), len(await notify.mailbox(ADDRESS))
        await notify.receive(message, event_key=name)
        await notify.deliver()

        assert len(channels) == len(set(channels)) > 0, name
        assert (len(await notify.inbox()), len(await notify.mailbox(ADDRESS))) == sent, name
        assert len(await notify.notices()) == before + 1, name


async def test_messages_name_the_merchant_and_whom_to_complain_to(notify: Notify) -> None:
    settings = notify_pb2.NotifySettings(
        name=f"{MERCHANT}/notifySettings",
        merchant_display_name="Coffee Shop",
        complaint_address="care@shop.example",
    )
    await notify.call(
        "UpdateNotifySettings", notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings)
    )
    await notify.contact(email=ADDRESS)
    await notify.start_binding()
    await notify.deliver()
    code = (await notify.inbox())[-1]
    await notify.confirm(code.removeprefix("Coffee Shop: ")[:8])
    await notify.receive(order_confirmed())
    await notify.deliver()

    assert (await notify.inbox(PHONE))[-1].startswith("Coffee Shop: Hi Ann! You paid 12.50 EUR")
    assert (await notify.inbox(PHONE))[-1].endswith("Ref. coffee/1 - Complaints: care@shop.example")
    [mail] = await notify.mailbox(ADDRESS)
    assert "Ref. coffee/1\nComplaints: care@shop.example\nCoffee Shop" in mail["text"].replace(
        "\r", ""
    )
