"""Notify on a real database, with a real gateway and mail server, and a clock that a test moves."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.notify import api, consumers, workers
from services.notify.clients.documents import Documents
from services.notify.clients.gateway import Gateway
from services.notify.domain.notices import Channel
from services.notify.domain.replies.inbound import ONE_SENDER_NUMBER, SenderNumbers
from services.notify.names import CUSTOMER
from services.notify.store import contacts, phones
from services.notify.store.phones import BoundPhone
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.db import due_work
from services.runtime.db.due_work import DueTimes, DueWork
from services.runtime.db.leases import BucketLeases
from services.runtime.db.pool import Database
from services.runtime.messaging.events import Event, OutboxEvent
from services.runtime.rpc import validation
from services.runtime.rpc.conversions import to_money, to_timestamp
from services.runtime.workers.loop import Step
from tests.due_work import EveryBucket
from tests.integration.sandbox.process import Sandbox
from tests.published import messages

MERCHANT = "merchants/acme"
NOW = datetime(2026, 1, 28, 8, 0, tzinfo=UTC)
DUE = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
LEAD = timedelta(hours=72)
ANN = "merchants/acme/customers/ann"
PHONE = "+491701234567"
INVALID_PHONE = "+15005550001"
UNDELIVERABLE_PHONE = "+15005550002"
UNAVAILABLE_TWICE_PHONE = "+15005550003"
# Nobody listens there.
PAYMENTS_AWAY = "127.0.0.1:9"
LOST_ANSWER_PHONE = "+15005550004"


class ManualClock:
    """Stands still until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def seconds_until(self, moment: datetime) -> float | None:
        return 0.0 if moment <= self._now else None

    def move(self, by: timedelta) -> None:
        self._now += by

    def move_to(self, moment: datetime) -> None:
        self._now = moment


@dataclass
class Notify:
    """The service without its process: its calls, its handlers, its worker."""

    database: Database
    clock: ManualClock
    sandbox: Sandbox
    api: api.Servicer
    deliveries: workers.Deliveries
    receipts: workers.Receipts
    documents: Documents
    gateways: Mapping[Channel, Gateway]
    wake_at: datetime | None = None
    sandbox_started: bool = False

    async def call(self, method: str, request: Message, *, merchant: str = "acme") -> Any:  # noqa: ANN401
        """Call an RPC as a merchant's platform; requests that need an id get one."""
        set_caller(Caller("test", merchant, frozenset({"platform"})))
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:  # type: ignore[attr-defined]
            request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]
        validation.check(request)
        return await getattr(self.api, method)(request, None)

    async def contact(self, customer: str = ANN, **fields: Any) -> notify_pb2.Contact:  # noqa: ANN401
        """Create or change a contact."""
        wanted = notify_pb2.Contact(name=f"{customer}/contact", display_name="Ann", **fields)
        request = notify_pb2.UpdateContactRequest(contact=wanted, allow_missing=True)
        contact: notify_pb2.Contact = await self.call("UpdateContact", request)
        return contact

    async def rename(self, display_name: str, customer: str = ANN) -> None:
        wanted = notify_pb2.Contact(name=f"{customer}/contact", display_name=display_name)
        await self.call("UpdateContact", notify_pb2.UpdateContactRequest(contact=wanted))

    async def start_binding(
        self, phone: str = PHONE, customer: str = ANN, *, with_present_phone: bool = False
    ) -> None:
        request = notify_pb2.StartPhoneBindingRequest(
            name=f"{customer}/contact", phone=phone, with_present_phone_code=with_present_phone
        )
        await self.call("StartPhoneBinding", request)

    async def confirm(
        self, code: str, customer: str = ANN, *, present: str = ""
    ) -> notify_pb2.Contact:
        request = notify_pb2.ConfirmPhoneBindingRequest(
            name=f"{customer}/contact", code=code, present_phone_code=present
        )
        contact: notify_pb2.Contact = await self.call("ConfirmPhoneBinding", request)
        return contact

    async def bind(self, phone: str = PHONE, customer: str = ANN) -> notify_pb2.Contact:
        """Bind a phone with the code that arrived on it."""
        await self.start_binding(phone, customer)
        await self.deliver()
        return await self.confirm((await self.inbox(phone))[-1][:8], customer)

    async def rebind(
        self, phone: str, present: str = PHONE, customer: str = ANN
    ) -> notify_pb2.Contact:
        """Bind another phone, with the codes that arrived on it and on the one that is bound."""
        await self.start_binding(phone, customer, with_present_phone=True)
        await self.deliver()
        code, agreed = [(await self.inbox(each))[-1][:8] for each in (phone, present)]
        return await self.confirm(code, customer, present=agreed)

    async def bind_unreachable(self, phone: str, customer: str = ANN) -> None:
        """A phone that was bound once and has since begun to misbehave."""
        await self.bind(PHONE, customer)
        await self.replace_phone(phone, customer)

    async def replace_phone(self, phone: str, customer: str = ANN) -> None:
        """The customer's phone is another one, proved by nothing."""
        key = CUSTOMER.key(customer)
        async with self.database.begin() as tx:
            contact = await contacts.one(tx, key)
            assert contact is not None
            await phones.bind(tx, [BoundPhone(contact, phone)], self.clock.now())

    async def receive(
        self, *messages: Message, event_key: str = "", occur_time: datetime | None = None
    ) -> None:
        """Let the handler take events of one type, as the inbox does with those that are new."""
        events = [
            OutboxEvent(
                event_key or str(index), message, "acme", "x", occur_time or self.clock.now()
            )
            for index, message in enumerate(messages)
        ]
        await self.handle([_event(event) for event in events])

    async def handle(self, events: Sequence[Event[Any]]) -> None:
        by_type = {
            subscription.type: subscription
            for subscriptions in consumers.subscriptions(self.clock).values()
            for subscription in subscriptions
        }
        [event_type] = {event.message.DESCRIPTOR.full_name for event in events}
        async with self.database.begin() as tx:
            await by_type[event_type].handler(tx, events)

    def sender(
        self, gateways: Mapping[Channel, Gateway], senders: SenderNumbers = ONE_SENDER_NUMBER
    ) -> workers.Deliveries:
        """What sends by other gateways, or from other numbers."""
        return workers.Deliveries(
            self.database, self.clock, gateways, self.documents, senders=senders
        )

    async def start_sandbox(self) -> None:
        """Start the outside world with its first use, since many tests need none."""
        if not self.sandbox_started:
            self.sandbox_started = True
            await self.sandbox.start()

    async def deliver(self) -> None:
        """Send everything that is due now."""
        await self.start_sandbox()
        while (step := await self.step()).worked:
            pass
        self.wake_at = step.wake_at

    async def poll(self) -> None:
        """Ask gateways about everything that they are to be asked about now."""
        due_times, buckets = DueTimes(self.database), EveryBucket(self.database)
        work = DueWork("receipt", self.receipts.work)
        while (step := await due_work.step(due_times, self.clock, buckets, work)).worked:
            pass
        self.wake_at = step.wake_at

    async def change_phones(self) -> None:
        """Bind the phones that have waited until now."""
        work = DueWork("phone-change", workers.PhoneChanges(self.database).work)
        buckets = EveryBucket(self.database)
        while (await due_work.step(DueTimes(self.database), self.clock, buckets, work)).worked:
            pass

    async def lapse_silent_phones(self) -> None:
        """Take phones for proved no more that have been silent until now."""
        work = DueWork("phone-silence", workers.PhoneSilence(self.database).work)
        buckets = EveryBucket(self.database)
        while (await due_work.step(DueTimes(self.database), self.clock, buckets, work)).worked:
            pass

    async def step(self, buckets: BucketLeases | None = None, queue: Channel | None = None) -> Step:
        """One step of the worker, which has every bucket and channel unless others are given."""
        buckets = buckets or EveryBucket(self.database)
        work = DueWork("delivery", self.deliveries.work, queue=queue)
        due_times = DueTimes(self.database)
        return await due_work.step(due_times, self.clock, buckets, work)

    async def step_with_attachments(self) -> Step:
        """One step of the worker for what has a file."""
        work = DueWork("attachment", self.deliveries.work_with_attachments)
        due_times, buckets = DueTimes(self.database), EveryBucket(self.database)
        return await due_work.step(due_times, self.clock, buckets, work)

    async def inbox(self, phone: str = PHONE) -> list[str]:
        """The texts that arrived on a phone, the oldest first."""
        answer = await self.sandbox.ask("GET", "/sms/v1/messages", query={"to": phone})
        return [message["body"] for message in answer.body["data"]]

    async def mailbox(self, address: str) -> list[dict[str, Any]]:
        answer = await self.sandbox.ask("GET", "/mail/v1/messages", query={"to": address})
        messages: list[dict[str, Any]] = answer.body["data"]
        return messages

    async def outage(self, part: str, *, on: bool) -> None:
        await self.start_sandbox()
        await self.sandbox.ask("PUT", f"/outages/{part}", json={"on": on})

    async def notices(self, customer: str = ANN) -> list[notify_pb2.Notice]:
        request = notify_pb2.ListNoticesRequest(parent=customer)
        return list((await self.call("ListNotices", request)).notices)

    async def published(self, message_type: type[Message]) -> list[Any]:
        """What the outbox holds of a type."""
        async with self.database.read() as connection:
            rows = await connection.fetch(
                "SELECT data FROM outbox WHERE type = $1 ORDER BY position",
                message_type.DESCRIPTOR.full_name,
            )
            return messages(message_type, [row["data"] for row in rows])


def _event(event: OutboxEvent) -> Event[Any]:
    return Event(
        event.event_id, event.tenant, event.partition_key, event.occur_time, "", event.message
    )


def order_ref(customer: str = ANN, cycle: int = 1) -> scheduler_events_pb2.OrderRef:
    return scheduler_events_pb2.OrderRef(
        order=f"{MERCHANT}/standingOrders/coffee/orders/{cycle}",
        customer=customer,
        title="Coffee",
        billing_mode=scheduler_pb2.AUTOMATIC,
        time_zone="Europe/Berlin",
        due_time=to_timestamp(DUE),
    )


def order_upcoming(customer: str = ANN, cycle: int = 1) -> scheduler_events_pb2.OrderUpcoming:
    message = scheduler_events_pb2.OrderUpcoming(
        ref=order_ref(customer, cycle),
        amount=to_money(1250, "EUR"),
        charge_not_before_time=to_timestamp(DUE),
    )
    message.notice_lead.FromTimedelta(LEAD)
    return message


def order_confirmed(customer: str = ANN, cycle: int = 1) -> scheduler_events_pb2.OrderConfirmed:
    return scheduler_events_pb2.OrderConfirmed(
        ref=order_ref(customer, cycle),
        amount=to_money(1250, "EUR"),
        lines=[
            scheduler_pb2.OrderLine(
                title="Espresso", quantity=2, gross_amount=to_money(1250, "EUR")
            )
        ],
        pay_time=to_timestamp(DUE),
    )


def order_skipped(customer: str = ANN, cycle: int = 1) -> scheduler_events_pb2.OrderSkipped:
    return scheduler_events_pb2.OrderSkipped(
        ref=order_ref(customer, cycle), reason=scheduler_pb2.SKIPPED_BY_CUSTOMER
    )
