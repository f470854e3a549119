"""Secrets and personal data appear where they belong, and nowhere else."""

import re
import uuid
from collections.abc import Awaitable
from typing import Any

import aiohttp
import asyncpg
import grpc
import pytest
from google.protobuf import field_mask_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.postal_address_pb2 import PostalAddress
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from deploy.embedded import wiring
from services.runtime.rpc.conversions import to_money
from tests.contract.customer import CARD, TEA_CENTS, Customer, add_card, add_product
from tests.suite import Client, Suite, new_id, refused

SERVICES = ("catalog", "scheduler", "payments", "notify")


class Canary:
    """A customer whose every secret is like nobody else's."""

    def __init__(self, suite: Suite) -> None:
        self.mark = uuid.uuid4().hex[:10]
        self.phone = f"+49170{uuid.uuid4().int % 10**8:08d}"
        self.email = f"canary-{self.mark}@example.com"
        self.consent_ip = f"2001:db8::{self.mark[:4]}:{self.mark[4:8]}"
        self.display_name = f"Canary {self.mark}"
        self.shop: Client = suite.client()
        self.name = f"{self.shop.name}/customers/ann/contact"
        self.code, self.order, self.refund, self.webhook_secret = "", "", "", ""
        self.address = PostalAddress(
            region_code="DE", locality=f"Canary {self.mark}", address_lines=[f"{self.mark} 1"]
        )

    @property
    def secrets(self) -> list[str]:
        signature = self.shop.token.rpartition(".")[2]
        known = [self.phone, self.phone[1:], self.email, self.display_name, self.mark]
        return [*known, self.consent_ip, CARD, signature, self.webhook_secret]

    def update(self, **changes: Any) -> Awaitable[Any]:  # noqa: ANN401 - any field
        fields = {"display_name": self.display_name, "email": self.email, **changes}
        return self.shop.notify.UpdateContact(
            notify_pb2.UpdateContactRequest(
                contact=notify_pb2.Contact(name=self.name, **fields),
                allow_missing=True,
                request_id=new_id(),
            )
        )

    async def register_webhooks(self) -> None:
        # What has happened to her is not for it, should it be published again.
        endpoint = notify_pb2.WebhookEndpoint(
            url="https://hooks.example.com/",
            event_types=["recurring.catalog.v1.StockOut"],
            disabled=True,
        )
        request = notify_pb2.CreateWebhookEndpointRequest(
            parent=self.shop.name,
            webhook_endpoint_id="shop",
            webhook_endpoint=endpoint,
            request_id=new_id(),
        )
        made = await self.shop.notify.CreateWebhookEndpoint(request)
        self.webhook_secret = made.secret.removeprefix("whsec_")

    def start(self, phone: str) -> Awaitable[Any]:
        request = notify_pb2.StartPhoneBindingRequest(
            name=self.name, phone=phone, request_id=new_id()
        )
        return self.shop.notify.StartPhoneBinding(request)

    def change_address(self, address: PostalAddress) -> Awaitable[Any]:
        template = scheduler_pb2.StandingOrder(
            name=self.order.rpartition("/orders/")[0], ship_to=address
        )
        request = scheduler_pb2.UpdateStandingOrderRequest(
            standing_order=template,
            update_mask=field_mask_pb2.FieldMask(paths=["ship_to"]),
            request_id=new_id(),
        )
        return self.shop.scheduler.UpdateStandingOrder(request)

    def add_card(self, token: str) -> Awaitable[Any]:
        request = payments_pb2.CreatePaymentMethodRequest(
            parent=self.name.removesuffix("/contact"),
            payment_method_id="other",
            payment_method=payments_pb2.PaymentMethod(provider_token=token),
            request_id=new_id(),
        )
        return self.shop.payments.CreatePaymentMethod(request)

    def consent(self, source: str) -> Awaitable[Any]:
        owner = self.name.removesuffix("/contact")
        evidence = payments_pb2.Mandate.Evidence(
            text=f"{self.display_name} agrees.", source=source, accept_time=Timestamp(seconds=1)
        )
        mandate = payments_pb2.Mandate(
            payment_method=f"{owner}/paymentMethods/card",
            charge_ceiling=to_money(100_000, "EUR"),
            evidence=evidence,
        )
        request = payments_pb2.CreateMandateRequest(
            parent=owner, mandate_id="m1", mandate=mandate, request_id=new_id()
        )
        return self.shop.payments.CreateMandate(request)

    def confirm(self, code: str) -> Awaitable[Any]:
        request = notify_pb2.ConfirmPhoneBindingRequest(
            name=self.name, code=code, request_id=new_id()
        )
        return self.shop.notify.ConfirmPhoneBinding(request)


@pytest.fixture
async def canary(suite: Suite) -> Canary:
    """It has been through all that contacts and phones can go through, well and badly."""
    canary = Canary(suite)
    await canary.update()
    await canary.start(canary.phone)
    await suite.sandbox.settle()
    messages = await suite.sandbox.inbox(canary.phone)
    code = re.search(r"\b\d{8}\b", messages[-1]["body"])
    assert code is not None
    canary.code = code[0]
    await refused(canary.confirm("00000000" if canary.code != "00000000" else "00000001"))
    await canary.confirm(canary.code)
    await receive(suite, canary)
    await canary.register_webhooks()
    return canary


async def receive(suite: Suite, canary: Canary) -> None:
    """Have her standing order, one cycle of it and an order sent to her address."""
    customer = Customer(suite, canary.shop, canary.phone)
    await add_product(canary.shop, "tea", TEA_CENTS)
    await add_card(customer)
    await canary.consent(canary.consent_ip)
    fields = {"billing_mode": scheduler_pb2.PAY_ON_NOTICE, "mandate": ""}
    made = await customer.subscribe(ship_to=canary.address, **fields)
    change = scheduler_pb2.CycleChange(cycle=2, ship_to=canary.address)
    await canary.shop.scheduler.ChangeCycle(
        scheduler_pb2.ChangeCycleRequest(name=made.name, change=change, request_id=new_id())
    )
    await canary.shop.scheduler.OrderNow(
        scheduler_pb2.OrderNowRequest(name=made.name, request_id=new_id())
    )
    await suite.sandbox.settle()
    canary.order = f"{made.name}/orders/1"
    canary.refund = await pay_and_get_back(customer, made.name)


async def pay_and_get_back(customer: Customer, standing_order: str) -> str:
    """Have her pay for the first order, and get it back with a note about her: the refund's name."""
    charge = f"{customer.name}/charges/{standing_order.rpartition('/')[2]}-1"
    await customer.shop.payments.ConfirmPaymentRequest(
        payments_pb2.ConfirmPaymentRequestRequest(
            name=charge, payment_method=customer.card, request_id=new_id()
        )
    )
    await customer.suite.sandbox.settle()
    refund = payments_pb2.Refund(note=f"{customer.phone} called")
    made = await customer.shop.payments.CreateRefund(
        payments_pb2.CreateRefundRequest(
            parent=charge, refund_id="r1", refund=refund, request_id=new_id()
        )
    )
    await customer.suite.sandbox.settle()
    return str(made.name)


def leaks(text: str, canary: Canary) -> list[str]:
    return [secret for secret in canary.secrets if secret in text]


@pytest.mark.embedded
async def test_logs_contain_no_secret(suite: Suite, canary: Canary) -> None:
    for service in SERVICES:
        log = (suite.stack.home / "log" / f"{service}.log").read_text()
        assert '"message": "serving"' in log
        assert leaks(log, canary) == [], service


@pytest.mark.embedded
async def test_metrics_contain_no_secret(suite: Suite, canary: Canary) -> None:
    async with aiohttp.ClientSession() as http:
        for service in SERVICES:
            address = suite.stack.addresses.local(f"{service}_metrics")
            async with http.get(f"http://{address}/metrics") as response:
                shown = await response.text()
            assert "rpc_server_call_duration_seconds_count" in shown
            assert leaks(shown, canary) == [], service


async def test_refusals_do_not_repeat_what_was_wrong(suite: Suite, canary: Canary) -> None:
    forger = suite.with_token(f"{canary.shop.token}x")
    for call in (
        canary.update(email=f"{canary.email} and more"),
        canary.update(display_name=canary.display_name * 10),
        canary.change_address(PostalAddress(address_lines=[canary.mark * 300])),
        canary.start(f"{canary.phone}x"),
        canary.confirm(f"{canary.code}0"),
        canary.add_card(f"pm_{canary.mark}"),
        canary.add_card(f"{CARD} {canary.mark}"),
        canary.consent(canary.consent_ip * 20),
        forger.notify.GetContact(notify_pb2.GetContactRequest(name=canary.name)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call
        # Its details travel beside it, in bytes.
        answer = f"{refusal.value.details()} {tuple(refusal.value.trailing_metadata())}"
        assert leaks(answer, canary) == []
        assert canary.code not in answer


@pytest.mark.embedded
@pytest.mark.parametrize("service", SERVICES)
async def test_no_table_holds_a_secret(suite: Suite, canary: Canary, service: str) -> None:
    keys = suite.deployment.keys
    url = wiring.database_url(service, suite.stack.addresses, keys, "_readonly")
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename !~ '^alembic'"
        )
        kept_of = set()
        for (table,) in tables:
            rows = await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608 - a table's name
            kept = " ".join(
                value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                for row in rows
                for value in row.values()
            )
            assert leaks(kept, canary) == [], table
            if canary.shop.merchant in kept:
                kept_of.add(table)
        # What was looked through is what her merchant has left.
        assert {"requests", "audit_entries"} <= kept_of
    finally:
        await connection.close()


async def test_who_asks_for_it_reads_what_is_encrypted(canary: Canary) -> None:
    order = await canary.shop.scheduler.GetOrder(scheduler_pb2.GetOrderRequest(name=canary.order))
    refund = await canary.shop.payments.GetRefund(payments_pb2.GetRefundRequest(name=canary.refund))
    assert (order.ship_to, refund.note) == (canary.address, f"{canary.phone} called")


@pytest.mark.embedded
async def test_a_code_is_not_kept_once_it_was_sent(suite: Suite, canary: Canary) -> None:
    keys = suite.deployment.keys
    url = wiring.database_url("notify", suite.stack.addresses, keys, "_readonly")
    connection = await asyncpg.connect(url)
    try:
        kept = await connection.fetch(
            "SELECT DISTINCT secret_text FROM deliveries WHERE merchant = $1", canary.shop.merchant
        )
    finally:
        await connection.close()
    request = notify_pb2.ListNoticesRequest(parent=canary.name.removesuffix("/contact"))
    shown = await canary.shop.notify.ListNotices(request)

    assert [row["secret_text"] for row in kept] == [None]
    assert shown.notices
    assert canary.code not in str(shown)
