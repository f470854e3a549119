"""A stack that exports its traces, and a customer on it whose first cycle passes."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2, money_pb2, postal_address_pb2
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from deploy.embedded.stack import EmbeddedStack
from deploy.embedded.wiring import DEMO_MERCHANT
from tests.suite import Client, Suite, new_id, refused

PHONE, EMAIL, NAME = "+491700000042", "ada@canary.example", "Ada Canary"
STREET, CARD, CONSENT_IP = "Canary Lane 7", "pm_card_visa", "203.0.113.77"
EXPORT_WAIT_SECONDS = 30


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: bytes
    parent: bytes


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP collector that keeps what it is sent."""

    def __init__(self) -> None:
        # Span id -> the span.
        self.spans: dict[bytes, Span] = {}
        # All that was sent, as text.
        self.received: list[str] = []

    def Export(  # noqa: N802 - as in the protocol
        self, request: trace_service_pb2.ExportTraceServiceRequest, _context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        self.received.append(str(request))
        for resource in request.resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    service = attributes["service.name"].removeprefix("recurring-")
                    self.spans[span.span_id] = Span(
                        service, span.name, span.trace_id, span.parent_span_id
                    )
        return trace_service_pb2.ExportTraceServiceResponse()

    def cycle(self) -> list[Span]:
        """The spans of the trace that a cycle's preparation is in."""
        spans = list(self.spans.values())
        traces = {span.trace for span in spans if span.name == "prepare cycle"}
        return [span for span in spans if span.trace in traces]

    def edges(self) -> set[tuple[str, str, str]]:
        """Where the trace goes on in another service: from, to, and by which span."""
        return {
            (above.service, span.service, span.name)
            for span in self.cycle()
            if (above := self.spans.get(span.parent)) and above.service != span.service
        }


@dataclass(frozen=True)
class Played:
    """A stack on which one cycle has been played from preparation to receipt."""

    stack: EmbeddedStack
    collector: Collector
    order: scheduler_pb2.Order
    # What nobody but the customer, the platform and the provider should know.
    secrets: tuple[str, ...]


async def play(stack: EmbeddedStack, collector: Collector) -> Played:
    """Let a customer sign up, not without mistakes, and the first cycle pass."""
    suite = Suite.on(stack)
    try:
        # Its platform listens.
        client = suite.client(DEMO_MERCHANT)
        code = await sign_up(suite, client)
        await suite.advance(timedelta(days=6))
        order = await client.scheduler.GetOrder(
            scheduler_pb2.GetOrderRequest(name=f"{client.name}/standingOrders/coffee/orders/1")
        )
        signature = client.token.rpartition(".")[2]
        secrets = (PHONE, PHONE[1:], EMAIL, NAME, STREET, CARD, CONSENT_IP, code, signature)
        return Played(stack, collector, order, secrets)
    finally:
        await suite.close()


def within_a_while(so: Callable[[], object]) -> object:
    """Look again and again until it is so; returns what is there in the end."""
    deadline = time.monotonic() + EXPORT_WAIT_SECONDS
    while not (value := so()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return value


async def sign_up(suite: Suite, client: Client) -> str:
    """A customer with a bound phone, a card and a monthly order; returns the code of the binding."""
    await refused(
        suite.with_token(f"{client.token}x").catalog.ListProducts(
            catalog_pb2.ListProductsRequest(parent=client.name)
        )
    )
    now = await suite.sandbox.now()
    start = (now + timedelta(days=4)).date()
    customer = f"{client.name}/customers/ada"
    product = f"{client.name}/products/beans"
    ceiling = money_pb2.Money(currency_code="EUR", units=100)
    accepted = Timestamp()
    accepted.FromDatetime(now)
    await client.catalog.CreateProduct(
        catalog_pb2.CreateProductRequest(
            parent=client.name,
            product_id="beans",
            product=catalog_pb2.Product(title="Beans", stock_tracked=True),
            request_id=new_id(),
        )
    )
    await client.catalog.CreatePrice(
        catalog_pb2.CreatePriceRequest(
            parent=product,
            price_id="first",
            price=catalog_pb2.Price(unit_price=money_pb2.Money(currency_code="EUR", units=12)),
            request_id=new_id(),
        )
    )
    await client.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(product=product, delta_units=10, request_id=new_id())
    )
    code = await bind_phone(suite, client, f"{customer}/contact")
    method = await client.payments.CreatePaymentMethod(
        payments_pb2.CreatePaymentMethodRequest(
            parent=customer,
            payment_method_id="card",
            payment_method=payments_pb2.PaymentMethod(provider_token=CARD),
            request_id=new_id(),
        )
    )
    mandate = await client.payments.CreateMandate(
        payments_pb2.CreateMandateRequest(
            parent=customer,
            mandate_id="yes",
            mandate=payments_pb2.Mandate(
                payment_method=method.name,
                charge_ceiling=ceiling,
                evidence=payments_pb2.Mandate.Evidence(
                    text=f"{NAME} agrees.", source=CONSENT_IP, accept_time=accepted
                ),
            ),
            request_id=new_id(),
        )
    )
    order = scheduler_pb2.StandingOrder(
        customer=customer,
        title="Coffee",
        items=[scheduler_pb2.Item(product=product, quantity=1)],
        schedule=scheduler_pb2.Schedule(
            start_date=date_pb2.Date(year=start.year, month=start.month, day=start.day),
            time_zone="UTC",
            monthly=scheduler_pb2.Schedule.Monthly(every_months=1),
        ),
        billing_mode=scheduler_pb2.AUTOMATIC,
        mandate=mandate.name,
        ship_to=postal_address_pb2.PostalAddress(
            region_code="DE", locality="Berlin", address_lines=[STREET], recipients=[NAME]
        ),
    )
    await subscribe(client, order)
    return code


async def bind_phone(suite: Suite, client: Client, contact: str) -> str:
    def update(email: str) -> Awaitable[Any]:
        return client.notify.UpdateContact(
            notify_pb2.UpdateContactRequest(
                contact=notify_pb2.Contact(name=contact, display_name=NAME, email=email),
                allow_missing=True,
                request_id=new_id(),
            )
        )

    def start(phone: str) -> Awaitable[Any]:
        return client.notify.StartPhoneBinding(
            notify_pb2.StartPhoneBindingRequest(name=contact, phone=phone, request_id=new_id())
        )

    def confirm(code: str) -> Awaitable[Any]:
        return client.notify.ConfirmPhoneBinding(
            notify_pb2.ConfirmPhoneBindingRequest(name=contact, code=code, request_id=new_id())
        )

    await refused(update(f"{EMAIL} and more"))
    await update(EMAIL)
    await refused(start(f"{PHONE}x"))
    await start(PHONE)
    code = await code_on(suite, PHONE)
    await refused(confirm(f"{code}0"))
    await refused(confirm(code[::-1] if code != code[::-1] else "01234567"))
    await confirm(code)
    return code


async def subscribe(client: Client, order: scheduler_pb2.StandingOrder) -> None:
    def create(order: scheduler_pb2.StandingOrder) -> Awaitable[Any]:
        return client.scheduler.CreateStandingOrder(
            scheduler_pb2.CreateStandingOrderRequest(
                parent=client.name,
                standing_order_id="coffee",
                standing_order=order,
                request_id=new_id(),
            )
        )

    endless = scheduler_pb2.StandingOrder()
    endless.CopyFrom(order)
    endless.ship_to.address_lines[:] = [STREET * 1000]
    await refused(create(endless))
    await create(order)
    await refused(create(order))


async def code_on(suite: Suite, phone: str) -> str:
    """The one-time code that came last on a phone."""
    async with asyncio.timeout(EXPORT_WAIT_SECONDS):
        while True:
            for message in reversed(await suite.sandbox.inbox(phone)):
                if code := re.search(r"\b\d{8}\b", message["body"]):
                    return code[0]
            await asyncio.sleep(0.05)
