"""Live events, read by a plain NATS client and decoded by their CloudEvents type."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

# Imported for their descriptors, which decode every event by its type.
from recurring.catalog.v1 import catalog_pb2
from recurring.catalog.v1 import events_pb2 as catalog
from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch
from recurring.notify.v1 import events_pb2 as notify
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2 as payments
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler
from recurring.scheduler.v1 import scheduler_pb2
from rich.text import Text

from cli.command import command, group
from cli.connect import Session, Stack, without_password
from cli.errors import CommandError
from cli.names import id_of, last_id, short_name
from cli.values import format_moment, format_money, format_timestamp

events = group("Read the events that the services publish.")

ALL_EVENTS = "recurring.>"
# A platform's user of the broker may read the events of its merchant, each in a message of its own.
PLATFORM_USER, PLATFORM_EVENTS = "merchant-", "merchants.{}.>"
CONNECT_TIMEOUT_SECONDS = 5
RECONNECT_WAIT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """A received event."""

    type: str
    tenant: str
    occur_time: datetime
    message: Message

    @property
    def name(self) -> str:
        """The type without its package, for example PaymentSucceeded."""
        return self.type.rpartition(".")[2]

    @property
    def customer(self) -> str:
        """The id of the customer whom it is about; empty for products."""
        ref = getattr(self.message, "ref", self.message)
        return last_id(getattr(ref, "customer", ""))


def read_event(event: CloudEvent) -> SeenEvent:
    """An event of a batch. Raises KeyError or DecodeError if it is not well-formed."""
    attributes = event.attributes
    occur_time = attributes["time"].ce_timestamp.ToDatetime(tzinfo=UTC)
    body = _read_body(event.type, event.proto_data.value)
    return SeenEvent(event.type, attributes["tenant"].ce_string, occur_time, body)


def read_events(message: Msg) -> list[SeenEvent]:
    """The events of a message, which is a batch, or a platform's single event in the binary mode.

    Raises KeyError, ValueError or DecodeError if it is neither.
    """
    head = message.headers or {}
    if "ce-type" not in head:
        return [read_event(event) for event in CloudEventBatch.FromString(message.data).events]
    body = _read_body(head["ce-type"], message.data)
    occur_time = datetime.fromisoformat(head["ce-time"])
    return [SeenEvent(head["ce-type"], head["ce-tenant"], occur_time, body)]


def _read_body(event_type: str, data: bytes) -> Message:
    described = descriptor_pool.Default().FindMessageTypeByName(event_type)  # type: ignore[no-untyped-call, unused-ignore]
    body = message_factory.GetMessageClass(described)()
    body.ParseFromString(data)
    return body


def _subject(nats_url: str, merchant: str) -> str:
    """What a user of the broker may read. Raises CommandError if that is another merchant's."""
    user = unquote(urlsplit(nats_url).username or "")
    if not user.startswith(PLATFORM_USER):
        return ALL_EVENTS
    if user != PLATFORM_USER + merchant:
        raise CommandError(f"the broker gives the user {user} no events of {merchant}")
    return PLATFORM_EVENTS.format(merchant)


async def subscribe(
    stack: Stack, merchant: str, see: Callable[[SeenEvent], Awaitable[None]]
) -> Client:
    """Call `see` with every event of a merchant from now on, until the client is closed.

    Raises CommandError if the broker cannot be reached now, or does not let this user read them; later
    the client comes back by itself.
    """
    client, errors = Client(), list[Exception]()
    subject = _subject(stack.nats_url, merchant)

    async def on_message(message: Msg) -> None:
        try:
            seen = [event for event in read_events(message) if event.tenant == merchant]
        except (KeyError, ValueError, DecodeError):
            return  # No events of ours.
        for event in seen:
            await see(event)

    async def keep(error: Exception) -> None:
        """Only the last one says why there is no answer; the client goes on by itself."""
        errors[:] = [error]

    try:
        # The client itself would try for ever to connect.
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            await client.connect(
                stack.nats_url,
                name="recurring-cli",
                tls=stack.trust.of_broker(stack.nats_url),
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                allow_reconnect=True,
                # The client takes fractions too.
                reconnect_time_wait=RECONNECT_WAIT_SECONDS,  # type: ignore[arg-type, unused-ignore]
                max_reconnect_attempts=-1,
                error_cb=keep,
            )
            errors.clear()
            await client.subscribe(subject, cb=on_message)
            # What the broker has against the subscription, it says before it answers. The client's
            # first question may overtake the subscription, which another task writes.
            await client.flush()
            await client.flush()
        if errors:
            raise errors[-1]
    except (NatsError, OSError, TimeoutError, ValueError) as error:
        await client.close()
        cause = errors[-1] if errors else error
        raise CommandError(
            f"the broker at {without_password(stack.nats_url)} gives no events: {cause}"
        ) from error
    return client


def describe_event(event: SeenEvent) -> str:
    """What an event says, in a line; the type's name is not repeated."""
    describe = _DESCRIPTIONS.get(type(event.message))
    return describe(event.message) if describe else ""


def _order(ref: scheduler.OrderRef) -> str:
    return f"{ref.title}, {short_name(ref.order)}"


def _charge(ref: payments.ChargeRef) -> str:
    return f"{ref.title}, {short_name(ref.order)}, {format_money(ref.amount)}"


def _reasons(reasons: Any) -> str:  # noqa: ANN401 - a repeated enum
    return ", ".join(map(scheduler_pb2.OrderReason.Name, reasons))


def _declined(event: payments.PaymentDeclined) -> str:
    then = format_timestamp(event.next_attempt_time)
    again = f"again {then}" if then else "the customer has to act"
    return f"{_charge(event.ref)}, attempt {event.attempt}: {event.decline_code}, {again}"


def _confirmed(event: scheduler.OrderConfirmed) -> str:
    following = format_timestamp(event.next_due_time)
    then = f", next {following}" if following else ", the last one"
    return f"{_order(event.ref)}: {format_money(event.amount)}{then}"


def _price_change(event: catalog.PriceChangeScheduled) -> str:
    before = format_money(event.previous_unit_price)
    change = (
        f"{before} → {format_money(event.unit_price)}" if before else format_money(event.unit_price)
    )
    times = f"from {format_timestamp(event.effective_time)}"
    if event.subscriber_effective_time != event.effective_time:
        times += f", for subscribers from {format_timestamp(event.subscriber_effective_time)}"
    return f"{event.title}: {change} {times}"


def _changed(event: scheduler.StandingOrderChanged) -> str:
    change = scheduler.StandingOrderChanged.Change.Name(event.change).lower()
    following = format_timestamp(event.next_due_time)
    return f"{event.title}: {change}{f', next {following}' if following else ''}"


def _changes(
    message: scheduler.SubscriberPriceChangeScheduled | scheduler.SubscriberPriceChangeWithdrawn,
) -> str:
    return ", ".join(
        f"{format_money(change.previous_amount)} to {format_money(change.amount)}"
        f" from {format_timestamp(change.first_due_time)}"
        for change in message.changes
    )


def _delivered(event: notify.NoticeDelivered) -> str:
    about = short_name(event.subject_resource)
    kind = notify_pb2.NoticeKind.Name(event.kind)
    return f"{kind}{f' about {about}' if about else ''}"


_DESCRIPTIONS: dict[type[Message], Callable[[Any], str]] = {
    catalog.PriceChangeScheduled: _price_change,
    catalog.PriceChangeWithdrawn: lambda it: (
        f"{it.title}: {format_money(it.unit_price)}"
        f" from {format_timestamp(it.effective_time)} is withdrawn"
    ),
    catalog.StockLow: lambda it: f"{it.title}: {it.available_units} left",
    catalog.StockOut: lambda it: f"{it.title}: none left",
    catalog.StockRestocked: lambda it: f"{it.title}: {it.available_units} to be had again",
    catalog.ProductDiscontinued: lambda it: f"{it.title}: sold no longer",
    scheduler.OrderUpcoming: lambda it: (
        f"{_order(it.ref)}: at most {format_money(it.amount)}"
        f" on {format_timestamp(it.ref.due_time)}"
    ),
    scheduler.PaymentDue: lambda it: f"{_order(it.ref)}: {format_money(it.amount)}",
    scheduler.PaymentWithdrawn: lambda it: _order(it.ref),
    scheduler.PaymentMandateChanged: lambda it: f"{_order(it.ref)}: {short_name(it.mandate)}",
    scheduler.OrderConfirmed: _confirmed,
    scheduler.OrderSlotsBooked: lambda it: _order(it.ref),
    scheduler.OrderSkipped: lambda it: f"{_order(it.ref)}: {_reasons([it.reason])}",
    scheduler.OrderHeld: lambda it: f"{_order(it.ref)}: {_reasons(it.reasons)}",
    scheduler.OrderLapsed: lambda it: f"{_order(it.ref)}: {_reasons(it.reasons)}",
    scheduler.OrderCancelled: lambda it: _order(it.ref),
    scheduler.StandingOrderChanged: _changed,
    scheduler.ItemDiscontinued: lambda it: (
        f"{it.title}: {it.substitute_title or 'nothing'} for {it.product_title}"
    ),
    scheduler.SubscriberPriceChangeScheduled: lambda it: f"{it.product_title}: {_changes(it)}",
    scheduler.SubscriberPriceChangeWithdrawn: lambda it: f"{it.product_title}: not {_changes(it)}",
    scheduler.PromotionEnding: lambda it: (
        f"{it.title}: {it.promotion_title} ends before {format_timestamp(it.first_due_time)}"
    ),
    scheduler.PriceProtectionEnding: lambda it: (
        f"{it.title}: not protected from {format_timestamp(it.first_unprotected_time)}"
    ),
    payments.PaymentMethodBlocked: lambda it: (
        f"{short_name(it.payment_method)}: {it.brand} {it.last4}, {it.decline_code}"
    ),
    payments.PaymentMethodExpiring: lambda it: (
        f"{short_name(it.payment_method)}: {it.brand} {it.last4},"
        f" {it.expire_date.year}-{it.expire_date.month:02}"
    ),
    payments.MandateTermsChanged: lambda it: (
        f"{short_name(it.mandate)}: {catalog_pb2.PaymentScheme.Name(it.payment_scheme)},"
        f" notice {it.lead.ToTimedelta()} ahead"
    ),
    payments.PaymentRequested: lambda it: (
        f"{_charge(it.ref)} until {format_timestamp(it.expire_time)}"
    ),
    payments.PaymentRequestReminder: lambda it: (
        f"{_charge(it.ref)} until {format_timestamp(it.expire_time)}"
    ),
    payments.PaymentActionRequired: lambda it: (
        f"{_charge(it.ref)}, attempt {it.attempt}, until {format_timestamp(it.expire_time)}"
    ),
    payments.PaymentSucceeded: lambda it: f"{_charge(it.ref)}, attempt {it.attempt_count}",
    payments.PaymentDeclined: _declined,
    payments.PaymentRefused: lambda it: (
        f"{_charge(it.ref)}: " + ", ".join(map(payments_pb2.RefusalReason.Name, it.reasons))
    ),
    payments.PaymentAbandoned: lambda it: (
        f"{_charge(it.ref)}: " + payments.PaymentAbandoned.Reason.Name(it.reason)
    ),
    payments.PaymentOverdue: lambda it: (
        f"{_charge(it.ref)}: {payments.PaymentAbandoned.Reason.Name(it.reason)},"
        f" until {format_timestamp(it.expire_time)}"
    ),
    payments.RefundSucceeded: lambda it: (
        f"{_charge(it.ref)}: {format_money(it.refund_amount)} given back"
    ),
    payments.RefundFailed: lambda it: (
        f"{_charge(it.ref)}: {format_money(it.refund_amount)} not given back, {it.failure_code}"
    ),
    payments.DisputeOpened: lambda it: (
        f"{_charge(it.ref)}: {format_money(it.dispute_amount)} "
        f"{'sent back by the bank' if it.late_failure else 'disputed'}, {it.reason}"
    ),
    payments.DisputeClosed: lambda it: (
        f"{_charge(it.ref)}: {format_money(it.dispute_amount)} "
        + payments_pb2.Dispute.State.Name(it.state)
    ),
    payments.DocumentIssued: lambda it: (
        f"{_charge(it.ref)}: {it.number} over {format_money(it.document_amount)}"
    ),
    notify.ChargeNoticeDelivered: lambda it: (
        f"{short_name(it.order)}: at most {format_money(it.charge_promise.amount)}"
    ),
    notify.ChargeNoticeFailed: lambda it: f"{short_name(it.order)}: {it.failure_code}",
    notify.PriceNoticeDelivered: lambda it: f"price {short_name(it.price)}",
    notify.NoticeDelivered: _delivered,
    notify.NoticeFailed: lambda it: f"{notify_pb2.NoticeKind.Name(it.kind)}: {it.failure_code}",
    notify.ContactBound: lambda _: "the phone is theirs",
    notify.WebhookEndpointDisabled: lambda it: (
        f"{last_id(it.webhook_endpoint)}: "
        + notify_pb2.WebhookEndpoint.DisableReason.Name(it.disable_reason)
    ),
    notify.ContactUnbound: lambda it: (
        f"no phone is bound: {notify_pb2.UnbindReason.Name(it.reason).lower()}"
    ),
}


@command(events, "watch")
async def watch_events(
    session: Session,
    kind: Annotated[
        str, typer.Option("--type", help="Only events of this type, for example PaymentSucceeded.")
    ] = "",
    customer: Annotated[str, typer.Option(help="Only events about this customer (an id).")] = "",
) -> None:
    """Print events of the merchant as they are published, until interrupted."""
    names = {
        description.DESCRIPTOR.name: description.DESCRIPTOR.full_name
        for description in _DESCRIPTIONS
    }
    if kind and kind not in {*names, *names.values()}:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(names)}", param_hint="'--type'")

    async def see(event: SeenEvent) -> None:
        if kind not in {"", event.name, event.type}:
            return
        if customer and event.customer != id_or_last(customer):
            return
        if session.output.as_json:
            envelope = {"type": event.type, "time": event.occur_time.isoformat()}
            session.output.data({**envelope, "data": MessageToDict(event.message)})
        else:
            session.output.console.print(event_line(event, event.customer), soft_wrap=True)

    client = await subscribe(session.stack, session.merchant, see)
    session.output.say("listening; end with Ctrl-C")
    try:
        await asyncio.Event().wait()
    finally:
        await client.close()


def event_line(event: SeenEvent, who: str) -> Text:
    """An event as a line for people: when, who, what."""
    return Text.assemble(
        (f"{format_moment(event.occur_time)}  ", "dim"),
        (f"{who:<10} ", "bold"),
        (f"{event.name:<20} ", "cyan"),
        describe_event(event),
    )


def id_or_last(customer: str) -> str:
    """The id of a customer who was given by id or by name."""
    return id_of(customer, "customers") or customer
