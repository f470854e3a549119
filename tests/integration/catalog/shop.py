"""The catalog without its process: its calls, handlers and worker, on a real database."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.type import money_pb2
from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from sqlalchemy import text

from services.catalog import api, consumers, workers
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.db.pool import Database
from services.runtime.messaging.events import Event, OutboxEvent
from services.runtime.rpc import validation
from services.runtime.rpc.conversions import to_money, to_timestamp
from services.runtime.workers.loop import Step

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
    ) -> catalog_pb2.Price:
        """Announce a price now."""
        wanted = catalog_pb2.Price(unit_price=to_money(amount_minor, currency))
        if effective is not None:
            wanted.effective_time.CopyFrom(to_timestamp(effective))
        request = catalog_pb2.CreatePriceRequest(
            parent=name(product), price_id=f"p{uuid.uuid4().hex[:8]}", price=wanted
        )
        made: catalog_pb2.Price = await self.call("CreatePrice", request)
        return made

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

    async def protect(
        self,
        *products: str,
        standing_order: str = "weekly",
        signed_up: datetime = NOW,
        protection: catalog_pb2.PriceProtection | None = None,
    ) -> list[str]:
        """Remember sign-up prices; returns what is wrong with the products."""
        entry = catalog_pb2.ProtectPrices(
            standing_order=f"{MERCHANT}/standingOrders/{standing_order}",
            products=[name(product) for product in products],
            sign_up_time=to_timestamp(signed_up),
            protection=protection,
        )
        request = catalog_pb2.BatchProtectPricesRequest(entries=[entry])
        [result] = (await self.call("BatchProtectPrices", request, SUITE)).results
        return _reasons(result.problems)

    async def quote(
        self,
        *items: catalog_pb2.Item,
        at: datetime,
        cycle: int = 1,
        standing_order: str = "weekly",
    ) -> catalog_pb2.BatchQuoteResponse:
        """The answer about one cart."""
        cart = catalog_pb2.Cart(
            standing_order=f"{MERCHANT}/standingOrders/{standing_order}",
            cycle=cycle,
            items=items,
            price_time=to_timestamp(at),
        )
        request = catalog_pb2.BatchQuoteRequest(carts=[cart])
        found: catalog_pb2.BatchQuoteResponse = await self.call("BatchQuote", request, SUITE)
        return found

    async def unit_price(self, product: str, at: datetime, **who: Any) -> tuple[int, str]:  # noqa: ANN401
        """What one unit costs in cents, and why."""
        [unit] = (await self.quote(item(product), at=at, **who)).unit_prices
        return cents(unit.amount), catalog_pb2.UnitPrice.Basis.Name(unit.basis)

    async def hold(
        self, *wanted: tuple[str, Sequence[catalog_pb2.Item]], until: datetime | None = None
    ) -> list[list[str]]:
        """Hold stock for orders in one call; returns what each lacks."""
        request = catalog_pb2.BatchHoldStockRequest(
            entries=[
                catalog_pb2.StockHoldRequest(
                    order=who, items=items, expire_time=to_timestamp(until or day(3))
                )
                for who, items in wanted
            ]
        )
        results = (await self.call("BatchHoldStock", request, SUITE)).results
        return [_reasons(result.problems) for result in results]

    async def order_event(self, message_type: type[Any], *orders: str) -> None:
        """Let the handler take events about orders, as the inbox does with those that are new."""
        ref = scheduler_events_pb2.OrderRef
        messages = [message_type(ref=ref(order=name)) for name in orders]
        events = [
            OutboxEvent(name, message, "acme", name, NOW)
            for name, message in zip(orders, messages, strict=True)
        ]
        [handler] = [
            subscription.handler
            for subscription in consumers.subscriptions(self.clock)["SCHEDULER"]
            if subscription.message_type is message_type
        ]
        async with self.database.begin() as tx:
            await handler(
                tx,
                [Event(e.event_id, e.tenant, e.key, e.occur_time, "", e.message) for e in events],
            )

    async def changes(self, resource: str) -> list[tuple[str, str, Any]]:
        """By whom and how a resource was changed, and what it is since, as its merchant reads it."""
        request = audit_pb2.ListAuditEntriesRequest(parent=MERCHANT, resource=resource)
        found = (await self.call("ListAuditEntries", request)).audit_entries
        return [(entry.subject, entry.method, MessageToDict(entry.after)) for entry in found]

    async def expire(self) -> Step:
        """One step of the worker that ends holds."""
        return await workers.HoldExpiry(self.database, self.clock).step()

    async def published(self, message_type: type[Message]) -> list[Any]:
        """What the outbox holds of a type, the oldest first."""
        async with self.database.read() as connection:
            rows = await connection.execute(
                text("SELECT data FROM outbox WHERE type = :type ORDER BY position"),
                {"type": message_type.DESCRIPTOR.full_name},
            )
            return [message_type.FromString(bytes(row.data)) for row in rows]


def cents(money: money_pb2.Money) -> int:
    return int(money.units * 100 + money.nanos // 10_000_000)


def _reasons(problems: Sequence[catalog_pb2.ItemProblem]) -> list[str]:
    return [
        f"{problem.product.rpartition('/')[2]}: "
        f"{catalog_pb2.ItemProblem.Reason.Name(problem.reason)}"
        for problem in problems
    ]
