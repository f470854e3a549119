"""Payments on a real database, with a real provider's process, and a clock that a test moves."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.payments.v1 import events_pb2, payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.payments import api
from services.payments.clients.provider import Provider
from services.payments.clients.providers import Providers
from services.payments.clients.rendering.process import DocumentRenderer
from services.payments.consumers import Handlers
from services.payments.workers import Workers
from services.runtime.auth.call_context import Caller, act_for_all, set_caller
from services.runtime.db.pool import Database
from services.runtime.messaging.events import Event
from services.runtime.rpc import validation
from services.runtime.rpc.conversions import to_date, to_money, to_timestamp
from services.runtime.workers.loop import Step
from tests import due_work
from tests.integration.sandbox.process import Sandbox
from tests.published import messages

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
ANN = "merchants/acme/customers/ann"
BOB = "merchants/acme/customers/bob"
ORDER = "merchants/acme/standingOrders/coffee/orders/1"
CHARGE = f"{ANN}/charges/coffee-1"
VISA = f"{ANN}/paymentMethods/visa"
MANDATE = f"{ANN}/mandates/coffee"
AMOUNT_MINOR = 1250
DAY = timedelta(days=1)

State = payments_pb2.Charge.State
Abandoned = events_pb2.PaymentAbandoned

# What the scheduler passes on where no rule pack asks for anything.
NO_RULES = catalog_pb2.ChargeRules(schemes=[catalog_pb2.SchemeRules()])


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


def ceiling(
    amount_minor: int, currency: str = "EUR", rolling_days: int = 0
) -> payments_pb2.PeriodCeiling:
    return payments_pb2.PeriodCeiling(
        amount=to_money(amount_minor, currency), rolling_days=rolling_days
    )


def card_of(payment: Mapping[str, Any]) -> str:
    """What a payment of the provider's was tried with. Only its error says it of a declined one."""
    error = payment["last_payment_error"]
    return str(error["payment_method"]["id"] if error else payment["payment_method"])


def order(number: int) -> str:
    return f"merchants/acme/standingOrders/coffee/orders/{number}"


def charge_name(number: int, customer: str = ANN) -> str:
    return f"{customer}/charges/coffee-{number}"


@dataclass
class Process:
    """The steps of a process's workers. It has every bucket, as each of several has that share one."""

    database: Database
    clock: ManualClock
    workers: Workers

    async def charge(self) -> Step:
        return await due_work.step(self.database, self.clock, "charge", self.workers.charge)

    async def look_up(self) -> Step:
        return await due_work.step(self.database, self.clock, "lookup", self.workers.look_up)

    async def expire_requests(self) -> Step:
        work = self.workers.expire_requests
        return await due_work.step(self.database, self.clock, "request-expiry", work)

    async def remind(self) -> Step:
        work = self.workers.remind_of_requests
        return await due_work.step(self.database, self.clock, "request-reminder", work)

    async def check_expiry(self) -> Step:
        work = self.workers.check_expiry
        return await due_work.step(self.database, self.clock, "method-expiry", work)

    async def refund(self) -> Step:
        return await due_work.step(self.database, self.clock, "refund", self.workers.refund)

    async def look_up_disputes(self) -> Step:
        work = self.workers.look_up_disputes
        return await due_work.step(self.database, self.clock, "dispute-lookup", work)

    async def answer_disputes(self) -> Step:
        work = self.workers.answer_disputes
        return await due_work.step(self.database, self.clock, "dispute-response", work)

    async def issue_documents(self) -> Step:
        work = self.workers.issue_documents
        return await due_work.step(self.database, self.clock, "document", work)

    async def recognize_revenue(self) -> Step:
        work = self.workers.recognize_revenue
        return await due_work.step(self.database, self.clock, "revenue", work)

    async def handle_webhooks(self) -> Step:
        work = self.workers.handle_webhooks
        return await due_work.step(self.database, self.clock, "webhook", work)


@dataclass
class Payments:
    """The service without its process: its calls, its handlers, its workers."""

    database: Database
    clock: ManualClock
    sandbox: Sandbox
    provider: Provider
    # Where the provider sends its webhooks, if it does.
    webhook_url: str = ""
    # Whether the provider's clock goes on with ours; else it stands still.
    has_one_time: bool = False
    # Providers beside it.
    others: Sequence[Provider] = ()

    def __post_init__(self) -> None:
        self.renderer = DocumentRenderer()
        providers = Providers([self.provider, *self.others])
        self.api = api.Servicer(self.database, self.clock, providers, self.renderer)
        self.handlers = Handlers(self.clock)
        self.due_work = self.process()

    def process(self, provider: Provider | None = None) -> "Process":
        """The due work of a process, which may have another provider."""
        return Process(
            self.database,
            self.clock,
            Workers(
                self.database,
                self.clock,
                Providers([provider or self.provider, *self.others]),
            ),
        )

    # --- calls ----------------------------------------------------------------------------------

    async def call(self, request: Message, *, merchant: str = "acme") -> Any:  # noqa: ANN401
        """Call the RPC of a request as a merchant's platform; one that needs an id gets one."""
        set_caller(Caller("test", merchant, frozenset({"platform"})))
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:  # type: ignore[attr-defined]
            request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]
        method = request.DESCRIPTOR.name.removesuffix("Request")
        validation.check(request)
        return await getattr(self.api, method)(request, None)

    async def payment_method(
        self, card: str = "pm_card_visa", name: str = VISA, provider: str = ""
    ) -> payments_pb2.PaymentMethod:
        parent, _, method_id = name.partition("/paymentMethods/")
        request = payments_pb2.CreatePaymentMethodRequest(
            parent=parent,
            payment_method_id=method_id,
            payment_method=payments_pb2.PaymentMethod(provider_token=card, provider=provider),
        )
        created: payments_pb2.PaymentMethod = await self.call(request)
        return created

    async def mandate(
        self,
        name: str = MANDATE,
        payment_method: str = VISA,
        ceiling_minor: int = 10_000,
        currency: str = "EUR",
        **fields: Any,  # noqa: ANN401
    ) -> payments_pb2.Mandate:
        parent, _, mandate_id = name.partition("/mandates/")
        request = payments_pb2.CreateMandateRequest(
            parent=parent,
            mandate_id=mandate_id,
            mandate=payments_pb2.Mandate(
                payment_method=payment_method,
                charge_ceiling=to_money(ceiling_minor, currency),
                evidence=payments_pb2.Mandate.Evidence(
                    text="Charge me for coffee.", accept_time=to_timestamp(self.clock.now())
                ),
                **fields,
            ),
        )
        created: payments_pb2.Mandate = await self.call(request)
        return created

    async def consent(self, card: str = "pm_card_visa", **fields: Any) -> None:  # noqa: ANN401
        """A payment method and a mandate of ann's."""
        await self.payment_method(card)
        await self.mandate(**fields)

    async def charge(self, name: str = CHARGE) -> payments_pb2.Charge:
        charge: payments_pb2.Charge = await self.call(payments_pb2.GetChargeRequest(name=name))
        return charge

    async def confirm(self, name: str = CHARGE, payment_method: str = VISA) -> payments_pb2.Charge:
        confirmed: payments_pb2.Charge = await self.call(
            payments_pb2.ConfirmPaymentRequestRequest(name=name, payment_method=payment_method)
        )
        return confirmed

    async def refund(
        self, refund_id: str = "spilt", amount_minor: int | None = None, currency: str = "EUR"
    ) -> payments_pb2.Refund:
        request = payments_pb2.CreateRefundRequest(parent=CHARGE, refund_id=refund_id)
        if amount_minor is not None:
            request.refund.amount.CopyFrom(to_money(amount_minor, currency))
        created: payments_pb2.Refund = await self.call(request)
        return created

    # --- events ---------------------------------------------------------------------------------

    async def deliver(self, handler: Callable[..., Awaitable[None]], *messages: Message) -> None:
        """Hand events to a handler as the inbox does: a set in one transaction."""
        async with self.database.begin() as tx:
            await handler(tx, [self._event(message) for message in messages])

    def _event(self, message: Message) -> Event[Any]:
        return Event(uuid.uuid4(), "acme", ANN, self.clock.now(), "", message)

    def notice(
        self,
        order: str = ORDER,
        amount_minor: int = AMOUNT_MINOR,
        not_before: datetime = NOW,
        customer: str = ANN,
    ) -> Message:
        return notify_events_pb2.ChargeNoticeDelivered(
            notice=f"{customer}/notices/upcoming-{order.rpartition('/')[2]}",
            customer=customer,
            order=order,
            deliver_time=to_timestamp(self.clock.now()),
            charge_promise=notify_events_pb2.ChargePromise(
                amount=to_money(amount_minor, "EUR"),
                charge_not_before_time=to_timestamp(not_before),
                billing_mode=scheduler_pb2.AUTOMATIC,
            ),
        )

    def due(
        self,
        order: str = ORDER,
        amount_minor: int = AMOUNT_MINOR,
        customer: str = ANN,
        mandate: str = MANDATE,
        rules: catalog_pb2.ChargeRules | None = NO_RULES,
        lines: Sequence[scheduler_events_pb2.PaymentLine] = (),
        late_payment_days: int = 0,
        period: tuple[date, date] | None = None,
    ) -> scheduler_events_pb2.PaymentDue:
        return scheduler_events_pb2.PaymentDue(
            ref=self._ref(order, customer, scheduler_pb2.AUTOMATIC),
            amount=to_money(amount_minor, "EUR"),
            mandate=mandate,
            charge_rules=rules,
            lines=lines,
            region_code="DE",
            late_payment_days=late_payment_days,
            period_start_date=to_date(period[0]) if period else None,
            period_end_date=to_date(period[1]) if period else None,
        )

    def due_on_notice(
        self, lasts: timedelta = DAY, late_payment_days: int = 0
    ) -> scheduler_events_pb2.PaymentDue:
        return scheduler_events_pb2.PaymentDue(
            ref=self._ref(ORDER, ANN, scheduler_pb2.PAY_ON_NOTICE),
            amount=to_money(AMOUNT_MINOR, "EUR"),
            expire_time=to_timestamp(self.clock.now() + lasts),
            late_payment_days=late_payment_days,
        )

    def withdrawn(self, order: str = ORDER) -> Message:
        return scheduler_events_pb2.PaymentWithdrawn(
            ref=self._ref(order, ANN, scheduler_pb2.AUTOMATIC)
        )

    def mandate_changed(self, mandate: str, order: str = ORDER) -> Message:
        return scheduler_events_pb2.PaymentMandateChanged(
            ref=self._ref(order, ANN, scheduler_pb2.AUTOMATIC), mandate=mandate
        )

    def _ref(
        self, order: str, customer: str, mode: scheduler_pb2.BillingMode.ValueType
    ) -> scheduler_events_pb2.OrderRef:
        return scheduler_events_pb2.OrderRef(
            order=order,
            customer=customer,
            title="Coffee",
            billing_mode=mode,
            time_zone="Europe/Berlin",
            due_time=to_timestamp(self.clock.now()),
        )

    async def announce(self, *messages: Message) -> None:
        await self.deliver(self.handlers.on_charge_notice_delivered, *(messages or [self.notice()]))

    async def fall_due(self, *messages: Message) -> None:
        await self.deliver(self.handlers.on_payment_due, *(messages or [self.due()]))

    async def withdraw(self, *messages: Message) -> None:
        await self.deliver(self.handlers.on_payment_withdrawn, *(messages or [self.withdrawn()]))

    async def change_mandate(self, mandate: str) -> None:
        handler = self.handlers.on_payment_mandate_changed
        await self.deliver(handler, self.mandate_changed(mandate))

    # --- time -----------------------------------------------------------------------------------

    async def work(self) -> datetime | None:
        """Run all workers until none has anything to do now; returns when there will be something."""
        act_for_all("payments")
        while True:
            due = self.due_work
            steps = [
                await step()
                for step in (
                    due.handle_webhooks,
                    due.charge, due.look_up, due.expire_requests, due.remind, due.refund,
                    due.check_expiry, due.look_up_disputes, due.answer_disputes,
                    due.issue_documents, due.recognize_revenue,
                )
            ]  # fmt: skip
            if not any(step.worked for step in steps):
                return min((step.wake_at for step in steps if step.wake_at), default=None)

    async def pass_time(self, by: timedelta) -> None:
        """Let time pass as the sandbox's clock does: from one instant of work to the next."""
        end = self.clock.now() + by
        while (wake_at := await self.work()) is not None and wake_at <= end:
            await self.move_clocks(wake_at - self.clock.now())
        await self.move_clocks(end - self.clock.now())
        await self.work()

    async def move_clocks(self, by: timedelta) -> None:
        """Move our clock, and with it the provider's if they have one time; nothing is done by that."""
        self.clock.move(by)
        if self.has_one_time:
            await self.sandbox.advance_to(self.clock.now())

    # --- what others see ------------------------------------------------------------------------

    async def events(self) -> list[Message]:
        """The events that payments has published, in order."""
        types = {
            message.DESCRIPTOR.full_name: message
            for message in vars(events_pb2).values()
            if isinstance(message, type) and issubclass(message, Message)
        }
        rows = await self.rows("SELECT type, data FROM outbox ORDER BY position")
        return [
            message for type_name, data in rows for message in messages(types[type_name], [data])
        ]

    async def published(self) -> list[str]:
        return [event.DESCRIPTOR.name for event in await self.events()]

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async with self.database.read() as connection:
            return [tuple(row) for row in await connection.fetch(sql)]

    async def payments_at_provider(self) -> list[dict[str, Any]]:
        """The provider's own record of payments, the oldest first."""
        answer = await self.sandbox.provider("GET", "/payment_intents?limit=100")
        payments: list[dict[str, Any]] = answer.body["data"]
        return payments[::-1]

    async def cards_at_provider(self) -> list[tuple[str, str]]:
        """The card and the status of each, by the provider's record."""
        return [(card_of(it), it["status"]) for it in await self.payments_at_provider()]

    async def charged_minor(self) -> int:
        """What the provider has taken from customers."""
        return sum(payment["amount_received"] for payment in await self.payments_at_provider())

    async def balances(self, as_of_time: datetime | None = None) -> dict[str, int]:
        """The ledger: minor units by account, all in EUR."""
        request = payments_pb2.ListLedgerAccountsRequest(
            parent="merchants/acme", as_of_time=to_timestamp(as_of_time) if as_of_time else None
        )
        answer = await self.call(request)
        return {
            account.name.rpartition("/")[2]: account.balance.units * 100
            + account.balance.nanos // 10_000_000
            for account in answer.ledger_accounts
        }


def event_of(events: Sequence[Message], name: str) -> Any:  # noqa: ANN401 - any message
    """The only event of a type."""
    [event] = [event for event in events if event.DESCRIPTOR.name == name]
    return event
