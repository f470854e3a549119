"""What operators see of a cycle: one trace across all four services, and every metric asked for."""

import asyncio
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2, money_pb2
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from deploy.embedded.addresses import SERVICES, Addresses
from deploy.embedded.stack import EmbeddedStack
from tests.prometheus import alert_queries, dashboard_queries, metrics_in, rules
from tests.suite import Client, Suite, new_id

PHONE = "+491700000042"
EXPORT_WAIT_SECONDS = 30


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: bytes
    parent: bytes


# Where a cycle passes from one service to another: by a call, or by an event.
EDGES = {
    ("scheduler", "catalog", "/recurring.catalog.v1.CatalogService/BatchQuote"),
    ("scheduler", "notify", "/recurring.notify.v1.NotifyService/BatchCheckContacts"),
    ("scheduler", "payments", "/recurring.payments.v1.PaymentsService/BatchCheckMandates"),
    ("scheduler", "catalog", "/recurring.catalog.v1.CatalogService/BatchHoldStock"),
    ("scheduler", "notify", "process recurring.scheduler.v1.OrderUpcoming"),
    ("notify", "scheduler", "process recurring.notify.v1.NoticeDelivered"),
    ("notify", "payments", "process recurring.notify.v1.NoticeDelivered"),
    ("scheduler", "payments", "process recurring.scheduler.v1.PaymentDue"),
    ("payments", "scheduler", "process recurring.payments.v1.PaymentSucceeded"),
    ("scheduler", "catalog", "process recurring.scheduler.v1.OrderConfirmed"),
    ("scheduler", "notify", "process recurring.scheduler.v1.OrderConfirmed"),
}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP collector that keeps what it is sent."""

    def __init__(self) -> None:
        # Span id -> the span.
        self.spans: dict[bytes, Span] = {}

    def Export(  # noqa: N802 - as in the protocol
        self, request: trace_service_pb2.ExportTraceServiceRequest, _context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
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


@pytest.fixture(scope="module")
def played(servers_folder: Path) -> Iterator[Played]:
    """A stack of its own that exports its traces."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    register = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    stack = EmbeddedStack(servers_folder / "watched", Addresses.free())
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
            patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
            stack.up()
        server.start()
        yield Played(stack, collector, asyncio.run(play(stack)))
    finally:
        stack.destroy()
        server.stop(None)


async def play(stack: EmbeddedStack) -> scheduler_pb2.Order:
    """Let a customer sign up, and the first cycle pass."""
    suite = Suite(stack)
    try:
        client = suite.client()
        await sign_up(suite, client)
        await suite.advance(timedelta(days=6))
        return await client.scheduler.GetOrder(
            scheduler_pb2.GetOrderRequest(name=f"{client.name}/standingOrders/coffee/orders/1")
        )
    finally:
        await suite.close()


def within_a_while(so: Callable[[], object]) -> object:
    """Look again and again until it is so; returns what is there in the end."""
    deadline = time.monotonic() + EXPORT_WAIT_SECONDS
    while not (found := so()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_a_cycle_is_one_trace_from_preparation_to_receipt(played: Played) -> None:
    assert played.order.state == scheduler_pb2.Order.PAID
    within_a_while(lambda: played.collector.edges() >= EDGES)
    assert EDGES - played.collector.edges() == set()
    cycle = played.collector.cycle()
    assert len({span.trace for span in cycle}) == 1
    # All of it begins with one span, and the statements that it caused are in it as well.
    assert [span.name for span in cycle if not span.parent] == ["work prepare"]
    assert "INSERT" in {span.name for span in cycle}


def test_all_that_dashboards_and_alerts_ask_for_is_exported(played: Played) -> None:
    asked = metrics_in(dashboard_queries()) | metrics_in(alert_queries())
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert len(asked) > 30
    within_a_while(lambda: asked <= exported(played.stack) | recorded)
    assert asked - exported(played.stack) - recorded == set()


def exported(stack: EmbeddedStack) -> set[str]:
    """The names of the series that the four services show."""
    names: set[str] = set()
    for service in SERVICES:
        url = f"http://{stack.addresses.local(f'{service}_metrics')}/metrics"
        with urllib.request.urlopen(url, timeout=5) as page:
            names.update(re.findall(r"^([a-z_]+)[{ ]", page.read().decode(), re.MULTILINE))
    return names


async def sign_up(suite: Suite, client: Client) -> None:
    """A customer with a bound phone, a card and a monthly order."""
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
    contact = f"{customer}/contact"
    await client.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(
            contact=notify_pb2.Contact(name=contact, display_name="Ada"),
            allow_missing=True,
            request_id=new_id(),
        )
    )
    await client.notify.StartPhoneBinding(
        notify_pb2.StartPhoneBindingRequest(name=contact, phone=PHONE, request_id=new_id())
    )
    await client.notify.ConfirmPhoneBinding(
        notify_pb2.ConfirmPhoneBindingRequest(
            name=contact, code=await code_on(suite, PHONE), request_id=new_id()
        )
    )
    method = await client.payments.CreatePaymentMethod(
        payments_pb2.CreatePaymentMethodRequest(
            parent=customer,
            payment_method_id="card",
            payment_method=payments_pb2.PaymentMethod(provider_token="pm_card_visa"),
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
                evidence=payments_pb2.Mandate.Evidence(text="Yes.", accept_time=accepted),
            ),
            request_id=new_id(),
        )
    )
    await client.scheduler.CreateStandingOrder(
        scheduler_pb2.CreateStandingOrderRequest(
            parent=client.name,
            standing_order_id="coffee",
            standing_order=scheduler_pb2.StandingOrder(
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
            ),
            request_id=new_id(),
        )
    )


async def code_on(suite: Suite, phone: str) -> str:
    """The one-time code that came last on a phone."""
    async with asyncio.timeout(EXPORT_WAIT_SECONDS):
        while True:
            for message in reversed(await suite.sandbox.inbox(phone)):
                if found := re.search(r"\b\d{6}\b", message["body"]):
                    return found[0]
            await asyncio.sleep(0.05)
