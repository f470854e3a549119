"""What a platform does with Recurring, in Python: from a product to a paid order.

Needs the client (`make clients`, then `pip install dist/recurring_client-*.whl`) and the stack on this
machine (`make up`), whose `stack.json` says where everything answers. The sandbox stands for the
outside world: the customer's phone, and the clock.
"""

import asyncio
import json
import os
import re
import urllib.request
import uuid
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import duration_pb2, timestamp_pb2
from google.type import date_pb2, money_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2, scheduler_pb2
from recurring_client import Recurring, pages, refusal_of, subscribe

STACK = json.loads(
    (Path(os.environ.get("RECURRING_HOME", ".recurring")) / "stack.json").read_text()
)
MERCHANT = os.environ.get("RECURRING_MERCHANT", STACK["merchant"])
TOKEN_FILE = Path(os.environ.get("RECURRING_TOKEN_FILE", STACK["token_file"]))
PARENT = f"merchants/{MERCHANT}"
CUSTOMER = f"{PARENT}/customers/ann-{uuid.uuid4().hex[:8]}"
PHONE = f"+4917{uuid.uuid4().int % 10**9:09}"


async def main() -> None:
    """Sell, sign up, wait, be paid."""
    async with Recurring(STACK["targets"], token=TOKEN_FILE) as recurring:
        product = await sell(recurring)
        await bind_phone(recurring)
        mandate = await consent(recurring)
        standing_order = await order(recurring, product, mandate)
        async for coming in pages(
            recurring.scheduler.ListStandingOrders,
            scheduler_pb2.ListStandingOrdersRequest(parent=PARENT, customer=CUSTOMER),
        ):
            print(f"{coming.name} is due {coming.next_due_time.ToJsonString()}")
        await wait_for_payment(standing_order)
        await recurring.scheduler.CancelStandingOrder(
            scheduler_pb2.CancelStandingOrderRequest(name=standing_order.name)
        )


async def sell(recurring: Recurring) -> str:
    """A product with a price; a mutation gets its request id from the client."""
    product = await recurring.catalog.CreateProduct(
        catalog_pb2.CreateProductRequest(
            parent=PARENT,
            product_id=f"coffee-{uuid.uuid4().hex[:8]}",
            product=catalog_pb2.Product(title="Coffee beans"),
        )
    )
    price = catalog_pb2.Price(unit_price=euros(12, 50))
    await recurring.catalog.CreatePrice(
        catalog_pb2.CreatePriceRequest(parent=product.name, price_id="first", price=price)
    )
    return str(product.name)


async def bind_phone(recurring: Recurring) -> None:
    """The customer proves their phone with a code, which is in the sandbox's inbox."""
    contact = f"{CUSTOMER}/contact"
    await recurring.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(
            contact=notify_pb2.Contact(name=contact, display_name="Ann"), allow_missing=True
        )
    )
    await recurring.notify.StartPhoneBinding(
        notify_pb2.StartPhoneBindingRequest(name=contact, phone=PHONE)
    )
    await sandbox("POST", "/clock/settle", {})
    [message] = json.loads(await sandbox("GET", f"/sms/v1/messages?to=%2B{PHONE[1:]}"))["data"]
    code = re.search(r"\b\d{8}\b", message["body"])
    await recurring.notify.ConfirmPhoneBinding(
        notify_pb2.ConfirmPhoneBindingRequest(name=contact, code=code[0] if code else "")
    )


async def consent(recurring: Recurring) -> str:
    """A card, and the consent to charge it; first with a mistake."""
    card = await recurring.payments.CreatePaymentMethod(
        payments_pb2.CreatePaymentMethodRequest(
            parent=CUSTOMER,
            payment_method_id="card",
            payment_method=payments_pb2.PaymentMethod(provider_token="pm_card_visa"),  # noqa: S106
        )
    )
    request = payments_pb2.CreateMandateRequest(
        parent=CUSTOMER,
        mandate_id="consent",
        mandate=payments_pb2.Mandate(payment_method=card.name, charge_ceiling=euros(50)),
    )
    try:
        await recurring.payments.CreateMandate(request)
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        print(f"refused: {refusal.reason} {dict(refusal.fields)}")
    accepted = timestamp_pb2.Timestamp()
    accepted.FromDatetime(await now())
    request.mandate.evidence.text = "Charge me for coffee."
    request.mandate.evidence.accept_time.CopyFrom(accepted)
    mandate = await recurring.payments.CreateMandate(request)
    return str(mandate.name)


async def order(recurring: Recurring, product: str, mandate: str) -> scheduler_pb2.StandingOrder:
    """Two bags every week, from the day after tomorrow."""
    first = (await now() + timedelta(days=2)).date()
    schedule = scheduler_pb2.Schedule(
        start_date=date_pb2.Date(year=first.year, month=first.month, day=first.day),
        time_zone="Europe/Berlin",
        weekly=scheduler_pb2.Schedule.Weekly(every_weeks=1),
    )
    made: scheduler_pb2.StandingOrder = await recurring.scheduler.CreateStandingOrder(
        scheduler_pb2.CreateStandingOrderRequest(
            parent=PARENT,
            standing_order=scheduler_pb2.StandingOrder(
                customer=CUSTOMER,
                title="Coffee",
                items=[scheduler_pb2.Item(product=product, quantity=2)],
                schedule=schedule,
                billing_mode=scheduler_pb2.AUTOMATIC,
                mandate=mandate,
                notice_lead=duration_pb2.Duration(seconds=24 * 3600),
            ),
        )
    )
    return made


async def wait_for_payment(standing_order: scheduler_pb2.StandingOrder) -> None:
    """Time passes in the sandbox; then the events, as they came, until the order is paid."""
    await sandbox("POST", "/clock/advance", {"to": (await now() + timedelta(days=4)).isoformat()})
    order = f"{standing_order.name}/orders/1"
    async with aclosing(subscribe(STACK["platform_nats_url"], merchant=MERCHANT)) as events:
        async for event in events:
            match event.message:
                case events_pb2.OrderUpcoming(ref=ref) if ref.order == order:
                    print(event.to_json())
                case events_pb2.OrderConfirmed(ref=ref) if ref.order == order:
                    print(event.to_json())
                    return


def euros(units: int, cents: int = 0) -> money_pb2.Money:
    """Money has whole units and billionths."""
    return money_pb2.Money(currency_code="EUR", units=units, nanos=cents * 10_000_000)


async def now() -> datetime:
    """The simulated time."""
    return datetime.fromisoformat(json.loads(await sandbox("GET", "/clock"))["now"]).astimezone(UTC)


async def sandbox(method: str, path: str, body: Any = None) -> str:  # noqa: ANN401 - any JSON
    """Ask the sandbox, by plain HTTP."""
    request = urllib.request.Request(  # noqa: S310 - the stack's own address
        STACK["sandbox_url"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )

    def ask() -> str:
        with urllib.request.urlopen(request) as answer:  # noqa: S310  # nosec B310
            return str(answer.read().decode())

    return await asyncio.to_thread(ask)


if __name__ == "__main__":
    asyncio.run(main())
