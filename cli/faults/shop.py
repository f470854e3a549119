"""The shop of a history: products, customers and their standing orders, by the public contracts."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import Message
from google.type import timeofday_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.connect import Session, all_pages
from cli.faults import settings
from cli.faults.caller import Caller
from cli.faults.history import History
from cli.faults.platform import Platform
from cli.values import from_minor, to_date, to_duration, to_timestamp

CURRENCY = "EUR"
PHONE_OF = {
    "dropped answer": "+15005550004",
    "unavailable twice": "+15005550003",
    "falsely undelivered": "+15005550005",
    "receipt later": "+15005550006",
}
# One that is valid until the end of the month in which so many days have passed.
EXPIRING_CARD = "pm_sandbox_expires"
EXPIRY_DAYS = 20
_CODE = re.compile(r"\b\d{8}\b")
TOTAL_CEILING_MINOR = 3_000
PERCENT_OFF_BPS = 2_000
CODE_PATIENCE = timedelta(minutes=4)


@dataclass
class Shop:
    """Names, and the requests that make things."""

    session: Session
    caller: Caller
    history: History
    # Ids begin with it, so that one merchant can have many histories.
    tag: str
    # Who is there already, and need not sign up; none: the history's customers are made.
    customers: Sequence[Mapping[str, str]] = ()
    mandate_counts: dict[int, int] = field(default_factory=dict)
    phones: dict[int, str] = field(default_factory=dict)
    # Proved, and to be bound once the owner of the phone before has had time to object.
    waiting_phones: dict[int, str] = field(default_factory=dict)
    platform: Platform = field(init=False)

    def __post_init__(self) -> None:
        self.platform = Platform(self.session, self.caller, self.tag)

    @property
    def parent(self) -> str:
        """The merchant."""
        return self.session.parent

    def product(self, product: str) -> str:
        """The name of a product."""
        return f"{self.parent}/products/{self.tag}-{product}"

    def customer(self, number: int) -> str:
        """The name of a customer."""
        there = self._there(number)
        return f"{self.parent}/customers/{there['customer'] if there else f'{self.tag}-c{number}'}"

    def _there(self, number: int) -> Mapping[str, str] | None:
        return self.customers[number % len(self.customers)] if self.customers else None

    def standing_order(self, number: int) -> str:
        """The name of a standing order."""
        return f"{self.parent}/standingOrders/{self.tag}-o{number}"

    def payment_method(self, customer: int) -> str:
        """The name of a customer's card."""
        there = self._there(customer)
        method = there["payment_method"] if there else "card"
        return f"{self.customer(customer)}/paymentMethods/{method}"

    def mandated_method(self, customer: int) -> str:
        """The name of what a customer's mandates are for: an account if there is one, else the card."""
        if self.customers or not self.history.customers[customer].get("account"):
            return self.payment_method(customer)
        return f"{self.customer(customer)}/paymentMethods/account"

    async def now(self) -> datetime:
        """The time of the deployment."""
        return (await self.session.now()).astimezone(UTC)

    async def open(self) -> None:
        """Make everything that the history begins with."""
        await self.platform.register(self.history.platform)
        await settings.choose(self.session, self.caller, self.history.daily_message_max)
        for product in self.history.products:
            await self._sell(product)
        if not self.customers:
            for number, customer in enumerate(self.history.customers):
                await self._sign_up(number, customer)
        for number, order in enumerate(self.history.standing_orders):
            await self.caller.call(
                self.session.scheduler.CreateStandingOrder,
                scheduler_pb2.CreateStandingOrderRequest(
                    parent=self.parent,
                    standing_order_id=f"{self.tag}-o{number}",
                    standing_order=await self._wanted(number, order),
                    allow_duplicate=True,
                ),
            )

    async def _sell(self, product: Mapping[str, Any]) -> None:
        name = self.product(product["id"])
        wanted = catalog_pb2.Product(
            title=product["id"].title(),
            stock_tracked="stock_units" in product,
            capacity_by_day="slots" in product,
        )
        await self.caller.call(
            self.session.catalog.CreateProduct,
            catalog_pb2.CreateProductRequest(
                parent=self.parent, product_id=f"{self.tag}-{product['id']}", product=wanted
            ),
        )
        await self.set_price(product["id"], "first", product["price_minor"], None)
        if "stock_units" in product:
            await self.caller.call(
                self.session.catalog.AdjustStock,
                catalog_pb2.AdjustStockRequest(product=name, delta_units=product["stock_units"]),
            )

        if "slots" in product:
            capacity = catalog_pb2.Capacity(
                name=f"{name}/capacity", weekday_slots=[product["slots"]] * 7
            )
            await self.caller.call(
                self.session.catalog.UpdateCapacity,
                catalog_pb2.UpdateCapacityRequest(capacity=capacity),
            )

    async def set_price(
        self, product: str, price_id: str, amount_minor: int, effective: datetime | None
    ) -> None:
        """Add a price, from now or from a later time on."""
        price = catalog_pb2.Price(
            unit_price=from_minor(amount_minor, CURRENCY), effective_time=to_timestamp(effective)
        )
        await self.caller.call(
            self.session.catalog.CreatePrice,
            catalog_pb2.CreatePriceRequest(
                parent=self.product(product), price_id=price_id, price=price
            ),
        )

    async def _sign_up(self, number: int, customer: Mapping[str, Any]) -> None:
        name = self.customer(number)
        contact = notify_pb2.Contact(
            name=f"{name}/contact",
            display_name=f"Customer {number}",
            email=f"{self.tag}-c{number}@example.com",
        )
        await self.caller.call(
            self.session.notify.UpdateContact,
            notify_pb2.UpdateContactRequest(contact=contact, allow_missing=True),
        )
        await self.bind_phone(number, PHONE_OF.get(customer["phone"], ""))
        await self.caller.call(
            self.session.payments.CreatePaymentMethod,
            payments_pb2.CreatePaymentMethodRequest(
                parent=name,
                payment_method_id="card",
                payment_method=payments_pb2.PaymentMethod(
                    provider_token=await self._token(customer["card"]),
                    provider=self._provider_account(customer),
                ),
            ),
        )
        if account := customer.get("account", ""):
            await self.caller.call(
                self.session.payments.CreatePaymentMethod,
                payments_pb2.CreatePaymentMethodRequest(
                    parent=name,
                    payment_method_id="account",
                    payment_method=payments_pb2.PaymentMethod(
                        provider_token=account, kind=payments_pb2.PaymentMethod.BANK_DEBIT
                    ),
                ),
            )
        await self.consent(number)

    def _provider_account(self, customer: Mapping[str, Any]) -> str:
        """Which account of the provider has a customer's card; empty: the deployment's first."""
        others = self.session.stack.provider_accounts
        return next(iter(others), "") if customer.get("second_account") else ""

    async def _token(self, card: str) -> str:
        """What the provider knows a card by."""
        if card != EXPIRING_CARD:
            return card
        month = await self.now() + timedelta(days=EXPIRY_DAYS)
        return f"{card}{month:%Y%m}"

    async def bind_phone(self, number: int, phone: str = "", *, by_both: bool = True) -> None:
        """Have a customer prove a phone, a new one unless it is given.

        Without the code of the present one, the new one waits.
        """
        # A number has to be its owner's alone; which one it is changes nothing in a history.
        phone = phone or f"+4917{random.randrange(10**9):09}"  # noqa: S311 - no secret
        contact = f"{self.customer(number)}/contact"
        present = self.phones.get(number, "")
        # It may have been bound meanwhile.
        waiting = self.waiting_phones.get(number, "")
        known = await self._inbox_sizes(phone, present, waiting)
        started = await self.caller.call(
            self.session.notify.StartPhoneBinding,
            notify_pb2.StartPhoneBindingRequest(
                name=contact, phone=phone, with_present_phone_code=by_both and bool(present)
            ),
        )
        if started is None or not (code := await self._code(phone, known[phone])):
            return
        codes = [
            await self._code(each, known[each]) for each in (waiting, present) if by_both and each
        ]
        present_code = next(filter(None, codes), "")
        await self.caller.call(
            self.session.notify.ConfirmPhoneBinding,
            notify_pb2.ConfirmPhoneBindingRequest(
                name=contact, code=code, present_phone_code=present_code
            ),
        )
        if present and not present_code:
            self.waiting_phones[number] = phone
            return
        self.phones[number] = phone
        self.waiting_phones.pop(number, None)

    async def _inbox_sizes(self, *phones: str) -> dict[str, int]:
        sandbox = self.session.sandbox
        return {phone: len(await sandbox.inbox(phone)) for phone in phones if phone}

    async def _code(self, phone: str, known: int) -> str:
        """The newest code that came to a phone since; empty: none did."""
        inbox = await self._received(phone, known)
        codes = [match[0] for message in inbox if (match := _CODE.search(message["body"]))]
        return codes[-1] if codes else ""

    async def _received(self, phone: str, known: int) -> list[dict[str, Any]]:
        """What came to a phone since; a gateway that is slow is given some minutes."""
        sandbox = self.session.sandbox
        await sandbox.settle()
        if len(await sandbox.inbox(phone)) == known:
            async for _ in sandbox.advance(await sandbox.now() + CODE_PATIENCE):
                pass
        return (await sandbox.inbox(phone))[known:]

    async def consent(self, number: int) -> str:
        """A new mandate of a customer; returns its name."""
        customer = self.history.customers[number]
        count = self.mandate_counts.get(number, 0)
        self.mandate_counts[number] = count + 1
        now = await self.now()
        mandate = payments_pb2.Mandate(
            payment_method=self.mandated_method(number),
            charge_ceiling=from_minor(customer["ceiling_minor"], CURRENCY),
            evidence=await self.evidence(),
        )
        if customer.get("account"):
            # As agreed, in place of the 14 days of its scheme.
            mandate.lead.FromTimedelta(timedelta(days=1))
        if customer["month_ceiling_minor"]:
            month = from_minor(
                max(customer["month_ceiling_minor"], customer["ceiling_minor"]), CURRENCY
            )
            mandate.period_ceiling.amount.CopyFrom(month)
        if customer["valid_days"]:
            until = to_timestamp(now + timedelta(days=customer["valid_days"]))
            assert until is not None  # noqa: S101 - for the type checker
            mandate.valid_until_time.CopyFrom(until)
        mandate_id = f"{self.tag}-m{count}"
        await self.caller.call(
            self.session.payments.CreateMandate,
            payments_pb2.CreateMandateRequest(
                parent=self.customer(number), mandate_id=mandate_id, mandate=mandate
            ),
        )
        return self.mandate(number)

    async def evidence(self) -> payments_pb2.Mandate.Evidence:
        """That a customer has consented now."""
        now = to_timestamp(await self.now())
        return payments_pb2.Mandate.Evidence(text="Charge me.", accept_time=now, source="faults")

    def mandate(self, number: int) -> str:
        """The name of a customer's newest mandate."""
        there = self._there(number)
        count = self.mandate_counts.get(number, 0)
        if there and not count:
            return f"{self.customer(number)}/mandates/{there['mandate']}"
        return f"{self.customer(number)}/mandates/{self.tag}-m{max(count, 1) - 1}"

    async def orders(self, number: int) -> list[scheduler_pb2.Order]:
        """All orders of a standing order."""
        request = scheduler_pb2.ListOrdersRequest(parent=self.standing_order(number))
        return await self._all(self.session.scheduler.ListOrders, request, "orders")

    async def charges(self, customer: int) -> list[payments_pb2.Charge]:
        """All charges of a customer."""
        request = payments_pb2.ListChargesRequest(parent=self.customer(customer))
        return await self._all(self.session.payments.ListCharges, request, "charges")

    async def _all(self, method: Any, request: Message, field: str) -> list[Any]:  # noqa: ANN401
        async def answer(page: Message) -> Any:  # noqa: ANN401 - any page
            response = await self.caller.call(method, page)
            if response is not None:
                return response
            # What was never made has nothing to list.
            return SimpleNamespace(next_page_token="", **{field: ()})

        return await all_pages(answer, request, field)

    async def _wanted(self, number: int, order: Mapping[str, Any]) -> scheduler_pb2.StandingOrder:
        wanted = scheduler_pb2.StandingOrder(
            customer=self.customer(order["customer"]),
            title=f"Order {number}",
            items=self.items(order["items"]),
            schedule=await self.schedule(order["schedule"]),
            billing_mode=scheduler_pb2.BillingMode.Value(order["mode"]),
            notice_lead=to_duration(timedelta(hours=order["lead_hours"])),
            payment_window=to_duration(timedelta(hours=order["window_hours"])),
            slot_days_before=order.get("slot_days", 0),
            slot_days_after=order.get("slot_days", 0),
        )
        if order["mode"] == "AUTOMATIC":
            wanted.mandate = self.mandate(order["customer"])
        if order["catch_up"]:
            wanted.catch_up.mode = scheduler_pb2.CatchUp.Mode.Value(order["catch_up"])
        if order["protection"] == "lock":
            wanted.price_protection.lock.cycle_count = 3
        elif order["protection"] == "cap":
            wanted.price_protection.cap.increase_limit_bps = 500
        if cycle_count := order.get("promoted_cycles", 0):
            wanted.promotion_code = await self._promote(number, cycle_count)
        if order["condition"]:
            wanted.conditions.append(_condition(order))
        return wanted

    async def _promote(self, number: int, cycle_count: int) -> str:
        """Offer a promotion for the first cycles of a standing order; returns its code."""
        promotion_id = f"{self.tag}-o{number}"
        promotion = catalog_pb2.Promotion(
            title=f"Offer {number}",
            percent_off_bps=PERCENT_OFF_BPS,
            cycle_count=cycle_count,
            code=promotion_id.upper(),
        )
        await self.caller.call(
            self.session.catalog.CreatePromotion,
            catalog_pb2.CreatePromotionRequest(
                parent=self.parent, promotion_id=promotion_id, promotion=promotion
            ),
        )
        return promotion.code

    def items(self, quantities: Mapping[str, int]) -> list[scheduler_pb2.Item]:
        """The items of a standing order."""
        return [
            scheduler_pb2.Item(product=self.product(product), quantity=quantity)
            for product, quantity in quantities.items()
        ]

    async def schedule(self, given: Mapping[str, Any]) -> scheduler_pb2.Schedule:
        """A schedule that begins some days from now."""
        hours, minutes = map(int, given["time"].split(":"))
        start = (await self.now()).date() + timedelta(days=given["first_days"])
        schedule = scheduler_pb2.Schedule(
            start_date=to_date(start),
            local_time=timeofday_pb2.TimeOfDay(hours=hours, minutes=minutes),
            time_zone=given["zone"],
        )
        if given["rule"] == "daily":
            schedule.daily.every_days = given["every"]
        elif given["rule"] == "weekly":
            schedule.weekly.every_weeks = given["every"]
        else:
            schedule.monthly.every_months = 1
            schedule.monthly.month_days.extend([1, 15, 31] if given["rule"] == "monthly" else [-1])
        if given["count"]:
            schedule.cycle_count = given["count"]
        if given["business_days"]:
            rule = scheduler_pb2.Schedule.BusinessDays.Rule.Value(given["business_days"])
            schedule.business_days.rule = rule
            schedule.business_days.country = "DE"
        return schedule


def _condition(order: Mapping[str, Any]) -> scheduler_pb2.Condition:
    action = scheduler_pb2.Otherwise.Action.Value(order["otherwise"])
    otherwise = scheduler_pb2.Otherwise(action=action)
    if order["otherwise"] == "DEFER":
        otherwise.defer_days = 1
    condition = scheduler_pb2.Condition(otherwise=otherwise)
    if order["condition"] == "in_stock":
        condition.in_stock.SetInParent()
    elif order["condition"] == "total_ceiling":
        condition.total_ceiling.CopyFrom(from_minor(TOTAL_CEILING_MINOR, CURRENCY))
    elif order["condition"] == "days_since":
        condition.days_since_last_order = 2
    else:
        condition.expression = "cycle % 3 != 2 || total < 900"
    return condition
