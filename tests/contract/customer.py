"""A customer who is ready to order: a bound phone, a card, a mandate, and something to buy."""

import asyncio
import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import to_date, to_money, to_timestamp
from tests.suite import Client, Suite, new_id

SMS_TIMEOUT_SECONDS = 20.0
NOTICE_LEAD = timedelta(hours=72)
TEA_CENTS = 450
CARD = "pm_card_visa"


@dataclass(frozen=True)
class Customer:
    """Ann, her merchant's program, and the suite that both are in."""

    suite: Suite
    shop: Client
    phone: str

    @property
    def name(self) -> str:
        return f"{self.shop.name}/customers/ann"

    @property
    def mandate(self) -> str:
        return f"{self.name}/mandates/m1"

    @property
    def card(self) -> str:
        return f"{self.name}/paymentMethods/card"

    async def today(self) -> date:
        return (await self.suite.sandbox.now()).date()

    async def order(self, **fields: Any) -> scheduler_pb2.StandingOrder:  # noqa: ANN401
        """A standing order that would be accepted, with changes."""
        schedule = scheduler_pb2.Schedule(
            start_date=to_date(await self.today() + timedelta(days=5)),
            time_zone="Europe/Berlin",
            weekly=scheduler_pb2.Schedule.Weekly(every_weeks=1),
        )
        good = {
            "customer": self.name,
            "title": "Tea",
            "items": [scheduler_pb2.Item(product=f"{self.shop.name}/products/tea", quantity=2)],
            "schedule": schedule,
            "billing_mode": scheduler_pb2.AUTOMATIC,
            "mandate": self.mandate,
        }
        return scheduler_pb2.StandingOrder(**{**good, **fields})

    async def ask(self, **fields: Any) -> scheduler_pb2.CreateStandingOrderRequest:  # noqa: ANN401
        return scheduler_pb2.CreateStandingOrderRequest(
            parent=self.shop.name,
            standing_order_id=f"o-{new_id()[:8]}",
            standing_order=await self.order(**fields),
            request_id=new_id(),
        )

    async def subscribe(self, **fields: Any) -> scheduler_pb2.StandingOrder:  # noqa: ANN401
        request = await self.ask(**fields)
        made: scheduler_pb2.StandingOrder = await self.shop.scheduler.CreateStandingOrder(request)
        return made

    async def preview(self, standing_order: str) -> scheduler_pb2.CyclePreview:
        """The next cycle of a standing order."""
        request = scheduler_pb2.PreviewCyclesRequest(name=standing_order, cycle_count=1)
        [cycle] = (await self.shop.scheduler.PreviewCycles(request)).cycles
        return cycle

    async def code(self) -> str:
        """The newest one-time code on her phone."""
        async with asyncio.timeout(SMS_TIMEOUT_SECONDS):
            while not (inbox := await self.suite.sandbox.inbox(self.phone)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return str(inbox[-1]["body"])[:8]


async def new_customer(suite: Suite) -> Customer:
    """Ann, at a merchant of her own who sells tea."""
    phone = f"+49170{random.randrange(10**8):08}"  # noqa: S311 - only has to be hers alone
    ann = Customer(suite, suite.client(), phone)
    await add_product(ann.shop, "tea", TEA_CENTS)
    await add_contact(ann)
    await bind_phone(ann)
    await add_card(ann)
    await add_mandate(ann)
    return ann


async def add_product(
    shop: Client,
    product: str,
    amount_minor: int = 0,
    currency: str = "EUR",
    **fields: Any,  # noqa: ANN401
) -> None:
    await shop.catalog.CreateProduct(
        catalog_pb2.CreateProductRequest(
            parent=shop.name,
            product_id=product,
            product=catalog_pb2.Product(title=product.title(), **fields),
            request_id=new_id(),
        )
    )
    if amount_minor:
        await shop.catalog.CreatePrice(
            catalog_pb2.CreatePriceRequest(
                parent=f"{shop.name}/products/{product}",
                price_id="first",
                price=catalog_pb2.Price(unit_price=to_money(amount_minor, currency)),
                request_id=new_id(),
            )
        )


async def add_contact(ann: Customer, customer: str = "ann") -> notify_pb2.Contact:
    contact = notify_pb2.Contact(
        name=f"{ann.shop.name}/customers/{customer}/contact", display_name=customer.title()
    )
    made: notify_pb2.Contact = await ann.shop.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(contact=contact, allow_missing=True, request_id=new_id())
    )
    return made


async def bind_phone(ann: Customer) -> None:
    await ann.shop.notify.StartPhoneBinding(
        notify_pb2.StartPhoneBindingRequest(
            name=f"{ann.name}/contact", phone=ann.phone, request_id=new_id()
        )
    )
    await ann.shop.notify.ConfirmPhoneBinding(
        notify_pb2.ConfirmPhoneBindingRequest(
            name=f"{ann.name}/contact", code=await ann.code(), request_id=new_id()
        )
    )


async def add_card(ann: Customer) -> None:
    await ann.shop.payments.CreatePaymentMethod(
        payments_pb2.CreatePaymentMethodRequest(
            parent=ann.name,
            payment_method_id="card",
            payment_method=payments_pb2.PaymentMethod(provider_token=CARD),
            request_id=new_id(),
        )
    )


async def add_mandate(
    ann: Customer,
    mandate: str = "m1",
    ceiling_minor: int = 100_000,
    currency: str = "EUR",
    **fields: Any,  # noqa: ANN401 - fields of a message
) -> payments_pb2.Mandate:
    wanted = payments_pb2.Mandate(
        payment_method=ann.card,
        charge_ceiling=to_money(ceiling_minor, currency),
        evidence=payments_pb2.Mandate.Evidence(
            text="Yes.", accept_time=to_timestamp(await ann.suite.sandbox.now())
        ),
        **fields,
    )
    made: payments_pb2.Mandate = await ann.shop.payments.CreateMandate(
        payments_pb2.CreateMandateRequest(
            parent=ann.name, mandate_id=mandate, mandate=wanted, request_id=new_id()
        )
    )
    return made
