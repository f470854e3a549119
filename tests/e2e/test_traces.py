"""One trace shows a cycle from its preparation to its receipt, across all four services."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
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

from deploy.embedded.addresses import Addresses
from deploy.embedded.stack import EmbeddedStack
from tests.suite import Client, Suite, new_id

PHONE = "+491700000042"
EXPORT_WAIT_SECONDS = 30


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP collector that keeps what it is sent."""

    def __init__(self) -> None:
        # Trace id -> the services that have a span in it, and the names of the spans.
        self.services: dict[bytes, set[str]] = defaultdict(set)
        self.names: dict[bytes, list[str]] = defaultdict(list)

    def Export(  # noqa: N802 - as in the protocol
        self, request: trace_service_pb2.ExportTraceServiceRequest, _context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.services[span.trace_id].add(attributes["service.name"])
                    self.names[span.trace_id].append(span.name)
        return trace_service_pb2.ExportTraceServiceResponse()

    def trace_of_a_cycle(self) -> bytes | None:
        return next((t for t, names in self.names.items() if "prepare cycle" in names), None)


@pytest.fixture
async def collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Suite, Collector]]:
    """A stack of its own that exports its traces."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    register = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    stack = EmbeddedStack(tmp_path, Addresses.free())
    try:
        await asyncio.to_thread(stack.up)
        server.start()
        suite = Suite(stack)
        yield suite, collector
        await suite.close()
    finally:
        await asyncio.to_thread(stack.destroy)
        server.stop(None)


async def test_a_cycle_is_one_trace_from_preparation_to_receipt(
    collected: tuple[Suite, Collector],
) -> None:
    suite, collector = collected
    client = suite.client()

    await sign_up(suite, client)
    await suite.advance(timedelta(days=6))

    order = await client.scheduler.GetOrder(
        scheduler_pb2.GetOrderRequest(name=f"{client.name}/standingOrders/coffee/orders/1")
    )
    assert order.state == scheduler_pb2.Order.PAID
    every_service = {f"recurring-{name}" for name in ("catalog", "scheduler", "payments", "notify")}
    async with asyncio.timeout(EXPORT_WAIT_SECONDS):
        while True:
            trace = collector.trace_of_a_cycle()
            if trace is not None and collector.services[trace] >= every_service:
                # The statements that its events caused are in it as well.
                assert "INSERT" in collector.names[trace]
                break
            await asyncio.sleep(0.1)


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
