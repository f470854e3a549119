"""The catalog without its process: its calls, handlers and worker, on a real database."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from google.protobuf import field_mask_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.type import money_pb2
from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.catalog import api, consumers, workers
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.db.pool import Database
from services.runtime.messaging.events import Event, OutboxEvent
from services.runtime.rpc import validation
from services.runtime.rpc.conversions import (
    from_date,
    optional_timestamp,
    to_date,
    to_money,
    to_timestamp,
)
from services.runtime.workers.loop import Step
from tests.due_work import step
from tests.published import messages

MERCHANT = "merchants/acme"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SUITE = Caller("scheduler", "*")
PLATFORM = Caller("shop", "acme", frozenset({"platform"}))


class ManualClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = NOW

    def now(self) -> datetime:
        return self._now

    def seconds_until(self, moment: datetime) -> float | None:
        return 0.0 if moment <= self._now else None

    def move_to(self, moment: datetime) -> None:
        self._now = moment


def day(number: int) -> datetime:
    return NOW + timedelta(days=number)


def name(product: str) -> str:
    return f"{MERCHANT}/products/{product}"


def order(standing_order: str = "weekly", cycle: int = 1) -> str:
    return f"{MERCHANT}/standingOrders/{standing_order}/orders/{cycle}"


def item(product: str, quantity: int = 1) -> catalog_pb2.Item:
    return catalog_pb2.Item(product=name(product), quantity=quantity)


@dataclass
class Shop:
    """A merchant's catalog."""

    database: Database
    clock: ManualClock
    api: api.Servicer
    # By standing order (id), how it is protected.
    agreements: dict[str, catalog_pb2.PriceAgreement] = field(default_factory=dict)

    async def call(self, method: str, request: Message, who: Caller = PLATFORM) -> Any:  # noqa: ANN401
        """Call an RPC; requests that need an id get one."""
        set_caller(who)
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:  # type: ignore[attr-defined]
            request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]
        validation.check(request)
        return await getattr(self.api, method)(request, None)

    async def sell(
        self,
        product: str,
        amount_minor: int = 0,
        units: int | None = None,
        **fields: Any,  # noqa: ANN401
    ) -> None:
        """A product with a price from now on, and with units if they are counted."""
        wanted = catalog_pb2.Product(
            title=product.title(), stock_tracked=units is not None, **fields
        )
        request = catalog_pb2.CreateProductRequest(
            parent=MERCHANT, product_id=product, product=wanted
        )
        await self.call("CreateProduct", request)
        if amount_minor:
            await self.price(product, amount_minor)
        if units:
            await self.adjust(product, units)

    async def price(
        self,
        product: str,
        amount_minor: int,
        effective: datetime | None = None,
        currency: str = "EUR",
        **fields: Any,  # noqa: ANN401
    ) -> catalog_pb2.Price:
        """Announce a price now."""
        wanted = catalog_pb2.Price(unit_price=to_money(amount_minor, currency), **fields)
        if effective is not None:
            wanted.effective_time.CopyFrom(to_timestamp(effective))
        request = catalog_pb2.CreatePriceRequest(
            parent=name(product), price_id=f"p{uuid.uuid4().hex[:8]}", price=wanted
        )
        made: catalog_pb2.Price = await self.call("CreatePrice", request)
        return made

    async def correct(self, price: catalog_pb2.Price, amount_minor: int) -> catalog_pb2.Price:
        """Correct what one unit costs."""
        wanted = catalog_pb2.Price(name=price.name, unit_price=to_money(amount_minor, "EUR"))
        mask = field_mask_pb2.FieldMask(paths=["unit_price"])
        request = catalog_pb2.UpdatePriceRequest(price=wanted, update_mask=mask)
        corrected: catalog_pb2.Price = await self.call("UpdatePrice", request)
        return corrected

    async def withdraw(self, price: str) -> catalog_pb2.Price:
        """Take a price back, by its name."""
        request = catalog_pb2.WithdrawPriceRequest(name=price)
        withdrawn: catalog_pb2.Price = await self.call("WithdrawPrice", request)
        return withdrawn

    async def adjust(self, product: str, delta_units: int) -> None:
        request = catalog_pb2.AdjustStockRequest(product=name(product), delta_units=delta_units)
        await self.call("AdjustStock", request)

    async def units(self, product: str) -> tuple[int, int, int]:
        """On hand, held, available."""
        stock = await self.call("GetStock", catalog_pb2.GetStockRequest(product=name(product)))
        return stock.on_hand_units, stock.held_units, stock.available_units

    async def release(self, order: str) -> catalog_pb2.StockHold:
        """Release what is held for an order."""
        request = catalog_pb2.ReleaseStockHoldRequest(order=order)
        released: catalog_pb2.StockHold = await self.call("ReleaseStockHold", request)
        return released

    async def protect(
        self,
        *products: str,
        standing_order: str = "weekly",
        signed_up: datetime = NOW,
        protection: catalog_pb2.PriceProtection | None = None,
        currency: str = "",
        **promotion: Any,  # noqa: ANN401
    ) -> list[str]:
        """Remember sign-up prices; returns what is wrong with the products.

        Carts of the standing order that are priced after it have the protection.
        """
        agreement = self.agreements.get(standing_order)
        if protection is not None:
            agreement = catalog_pb2.PriceAgreement(
                price_protection=protection,
                first_cycle=promotion.get("first_cycle") or 1,
                agree_time=to_timestamp(signed_up),
            )
            self.agreements[standing_order] = agreement
        entry = catalog_pb2.ProtectPrices(
            standing_order=f"{MERCHANT}/standingOrders/{standing_order}",
            products=[name(product) for product in products],
            sign_up_time=to_timestamp(signed_up),
            agreement=agreement,
            currency=currency,
            **promotion,
        )
        request = catalog_pb2.BatchProtectPricesRequest(entries=[entry])
        [result] = (await self.call("BatchProtectPrices", request, SUITE)).results
        if result.offer_problem:
            return [catalog_pb2.OfferProblem.Name(result.offer_problem)]
        if result.promotion_problem:
            return [catalog_pb2.PromotionProblem.Name(result.promotion_problem)]
        return _reasons(result.problems)

    async def promote(self, promotion: str, **fields: Any) -> catalog_pb2.Promotion:  # noqa: ANN401
        """A promotion; of ten per cent unless it says otherwise."""
        if "amount_off" not in fields:
            fields.setdefault("percent_off_bps", 1000)
        request = catalog_pb2.CreatePromotionRequest(
            parent=MERCHANT,
            promotion_id=promotion,
            promotion=catalog_pb2.Promotion(title=promotion.title(), **fields),
        )
        made: catalog_pb2.Promotion = await self.call("CreatePromotion", request)
        return made

    async def sign_up(
        self,
        code: str = "",
        *products: str,
        standing_order: str = "weekly",
        first_cycle: int = 1,
        **who: Any,  # noqa: ANN401
    ) -> list[str]:
        """Protect the prices of a new standing order, which redeems a promotion; returns why not."""
        return await self.protect(
            *(products or ("tea",)),
            standing_order=standing_order,
            promotion_code=code,
            first_cycle=first_cycle,
            **who,
        )

    async def redemptions(self, promotion: str) -> int:
        """How many have redeemed a promotion."""
        request = catalog_pb2.GetPromotionRequest(name=f"{MERCHANT}/promotions/{promotion}")
        return int((await self.call("GetPromotion", request)).redemption_count)

    async def quote(
        self,
        *items: catalog_pb2.Item,
        at: datetime,
        cycle: int = 1,
        standing_order: str = "weekly",
        signed_up: datetime | None = None,
        currency: str = "",
    ) -> catalog_pb2.BatchQuoteResponse:
        """The answer about one cart."""
        cart = catalog_pb2.Cart(
            standing_order=f"{MERCHANT}/standingOrders/{standing_order}",
            cycle=cycle,
            items=items,
            price_time=to_timestamp(at),
            sign_up_time=optional_timestamp(signed_up),
            currency=currency,
            agreement=self.agreements.get(standing_order),
        )
        request = catalog_pb2.BatchQuoteRequest(carts=[cart])
        response: catalog_pb2.BatchQuoteResponse = await self.call("BatchQuote", request, SUITE)
        return response

    async def problems(self, *items: catalog_pb2.Item, **who: Any) -> list[str]:  # noqa: ANN401
        """Why a cart of today has no quote."""
        [result] = (await self.quote(*items, at=NOW, **who)).results
        return _reasons(result.problems.problems)

    async def steps(self, *items: catalog_pb2.Item, **who: Any) -> list[tuple[int, str]]:  # noqa: ANN401
        """What a cart of one item is made of in cents, from the list amount to the amount."""
        [line] = (await self.quote(*items, **who)).lines
        kinds = catalog_pb2.PriceAdjustment.Kind
        return [
            (cents(line.list_amount), "LIST"),
            *((cents(step.amount), kinds.Name(step.kind)) for step in line.adjustments),
            (cents(line.amount), "AMOUNT"),
        ]

    async def unit_price(self, product: str, at: datetime, **who: Any) -> tuple[int, str]:  # noqa: ANN401
        """What one unit costs in cents, and what decided it."""
        [line] = (await self.quote(item(product), at=at, **who)).lines
        kinds = [
            catalog_pb2.PriceAdjustment.Kind.Name(adjustment.kind)
            for adjustment in line.adjustments
        ]
        return cents(line.amount), " ".join(kinds) or "LIST_PRICE"

    async def hold(
        self,
        *wanted: tuple[str, Sequence[catalog_pb2.Item]],
        until: datetime | None = None,
        announcement: int = 1,
        paid: bool = False,
    ) -> list[list[str]]:
        """Hold stock for orders in one call; returns what each lacks."""
        request = catalog_pb2.BatchHoldStockRequest(
            entries=[
                catalog_pb2.StockHoldRequest(
                    order=who,
                    announcement_count=announcement,
                    items=items,
                    expire_time=to_timestamp(until or day(3)),
                    due_time=to_timestamp(NOW),
                    paid=paid,
                )
                for who, items in wanted
            ]
        )
        results = (await self.call("BatchHoldStock", request, SUITE)).results
        return [_reasons(result.problems) for result in results]

    async def order_event(
        self,
        message_type: type[Any],
        *orders: str,
        announcement: int = 1,
        **fields: Any,  # noqa: ANN401
    ) -> None:
        """Let the handler take events about orders, as the inbox does with those that are new."""
        messages = [
            message_type(
                ref=scheduler_events_pb2.OrderRef(order=name, announcement_count=announcement),
                **fields,
            )
            for name in orders
        ]
        events = [
            OutboxEvent(name, message, "acme", name, NOW)
            for name, message in zip(orders, messages, strict=True)
        ]
        await self._receive("SCHEDULER", events)

    async def tell(
        self, price: catalog_pb2.Price, deliver_time: datetime, standing_order: str = "weekly"
    ) -> None:
        """The notice of a price, as it is announced now, reaches the customer of a standing order."""
        message = notify_events_pb2.PriceNoticeDelivered(
            price=price.name,
            standing_orders=[f"{MERCHANT}/standingOrders/{standing_order}"],
            announce_time=price.announce_time,
            deliver_time=to_timestamp(deliver_time),
        )
        key = deliver_time.isoformat()
        await self._receive("NOTIFY", [OutboxEvent(key, message, "acme", key, NOW)])

    async def _receive(self, stream: str, events: Sequence[OutboxEvent]) -> None:
        """Let the handler take events, as the inbox does with those that are new."""
        [handler] = [
            subscription.handler
            for subscription in consumers.subscriptions(self.clock)[stream]
            if subscription.message_type is type(events[0].message)
        ]
        async with self.database.begin() as tx:
            await handler(
                tx,
                [Event(e.event_id, e.tenant, e.key, e.occur_time, "", e.message) for e in events],
            )

    async def changes(self, resource: str) -> list[tuple[str, str, Any]]:
        """By whom and how a resource was changed, and what it is since, as its merchant reads it."""
        request = audit_pb2.ListAuditEntriesRequest(parent=MERCHANT, resource=resource)
        entries = (await self.call("ListAuditEntries", request)).audit_entries
        return [(entry.subject, entry.method, MessageToDict(entry.after)) for entry in entries]

    async def serve_backorders(self) -> Step:
        """One step of the worker that gives paid orders the units that they are owed."""
        work = workers.backorders(self.database).work
        return await step(self.database, self.clock, "backorder", work)

    async def hold_state(self, order: str) -> str:
        """What there is of an order."""
        request = catalog_pb2.GetStockHoldRequest(order=order)
        found = await self.call("GetStockHold", request)
        return catalog_pb2.StockHold.State.Name(found.state)

    async def expire(self) -> Step:
        """One step of the worker that ends holds."""
        work = workers.hold_expiry(self.database).work
        return await step(self.database, self.clock, "hold-expiry", work)

    async def serve(
        self, product: str = "visit", weekday: int = 1, **exceptions: int
    ) -> catalog_pb2.Capacity:
        """A service with so many slots each day; exceptions by date, as `d2026_01_05`."""
        await self.sell(product, 100, capacity_by_day=True)
        return await self.set_capacity(product, weekday, **exceptions)

    async def set_capacity(
        self, product: str = "visit", weekday: int = 1, **exceptions: int
    ) -> catalog_pb2.Capacity:
        """Change the capacity of a service."""
        days = [
            catalog_pb2.CapacityException(
                date=to_date(date.fromisoformat(day[1:].replace("_", "-"))), slots=slots
            )
            for day, slots in exceptions.items()
        ]
        capacity = catalog_pb2.Capacity(
            name=f"{name(product)}/capacity", weekday_slots=[weekday] * 7, exceptions=days
        )
        request = catalog_pb2.UpdateCapacityRequest(capacity=capacity)
        changed: catalog_pb2.Capacity = await self.call("UpdateCapacity", request)
        return changed

    async def book(
        self,
        who: str,
        *days: int,
        items: Sequence[catalog_pb2.Item] = (),
        announcement: int = 0,
        until: datetime | None = None,
        paid: bool = False,
    ) -> int | list[str] | None:
        """Book slots for an order on one of some days; the day that it gets, or what is wrong."""
        entry = catalog_pb2.SlotRequest(
            order=who,
            announcement_count=announcement,
            items=items or [item("visit")],
            dates=[
                catalog_pb2.SlotDate(
                    date=to_date(day(number).date()), due_time=to_timestamp(day(number))
                )
                for number in days
            ],
            expire_time=to_timestamp(until or day(60)),
            paid=paid,
        )
        request = catalog_pb2.BatchBookSlotsRequest(entries=[entry])
        [result] = (await self.call("BatchBookSlots", request, SUITE)).results
        if result.problems:
            return _reasons(result.problems)
        return (from_date(result.date) - NOW.date()).days if result.HasField("date") else None

    async def slots(self, number: int, product: str = "visit") -> tuple[int, int, int]:
        """Of a day: slots, booked, committed."""
        at = to_date(day(number).date())
        request = catalog_pb2.GetCapacityCalendarRequest(
            name=f"{name(product)}/capacity", start_date=at, end_date=at
        )
        [found] = (await self.call("GetCapacityCalendar", request)).days
        return found.slots, found.booked_slots, found.committed_slots

    async def expire_bookings(self) -> Step:
        """One step of the worker that ends bookings."""
        work = workers.booking_expiry(self.database).work
        return await step(self.database, self.clock, "booking-expiry", work)

    async def published(self, message_type: type[Message]) -> list[Any]:
        """What the outbox holds of a type, the oldest first."""
        async with self.database.read() as connection:
            rows = await connection.fetch(
                "SELECT data FROM outbox WHERE type = $1 ORDER BY position",
                message_type.DESCRIPTOR.full_name,
            )
            return messages(message_type, [row["data"] for row in rows])


def cents(money: money_pb2.Money) -> int:
    return int(money.units * 100 + money.nanos // 10_000_000)


def _reasons(problems: Sequence[catalog_pb2.ItemProblem]) -> list[str]:
    return [
        f"{problem.product.rpartition('/')[2]}: "
        f"{catalog_pb2.ItemProblem.Reason.Name(problem.reason)}"
        for problem in problems
    ]
