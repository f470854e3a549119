"""What the scheduler asks of the other services, always for a whole batch at once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from recurring.notify.v1 import notify_pb2, notify_pb2_grpc
from recurring.payments.v1 import payments_pb2, payments_pb2_grpc

from services.runtime.observability.outages import is_outage
from services.runtime.rpc.conversions import from_money, put_time, to_money, to_timestamp
from services.scheduler.domain.ids import MerchantId, OrderKey
from services.scheduler.domain.order import Item, Line, Order, OrderReason, Quote
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import Unpriced
from services.scheduler.names import order_name, product_name, standing_order_name

# The most that one call may carry, by the contracts.
BATCH_MAX_ENTRIES = 500
# So many lines, with names and titles as long as they may be, stay well below the largest message.
BATCH_MAX_LINES = 5_000

_REASONS = {
    catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND: OrderReason.PRODUCT_UNAVAILABLE,
    catalog_pb2.ItemProblem.PRODUCT_DISCONTINUED: OrderReason.PRODUCT_UNAVAILABLE,
    catalog_pb2.ItemProblem.PRICE_NOT_FOUND: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.CURRENCY_MISMATCH: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.TOTAL_TOO_LARGE: OrderReason.PRICE_UNAVAILABLE,
}

_FAULTS_OF_THE_QUESTION = frozenset(
    {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
)

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Cart:
    """What to price, for which cycle, at which instant."""

    key: OrderKey
    items: tuple[Item, ...]
    price_time: datetime


@dataclass(frozen=True, slots=True)
class MandateQuestion:
    """Whether a mandate covers an amount at an instant."""

    mandate: str
    amount_minor: int
    currency: str
    charge_time: datetime

    @property
    def month(self) -> tuple[str, int, int]:
        """The mandate, and the calendar month (UTC) whose ceiling counts."""
        utc = self.charge_time.astimezone(UTC)
        return self.mandate, utc.year, utc.month


# By mandate, year and month (UTC): what is to be charged and has not been yet, in minor units.
PlannedCharges = dict[tuple[str, int, int], int]
# A quote, or why there is none.
QuoteAnswer = Quote | Unpriced


class Clients:
    """Asks catalog, payments and notify."""

    def __init__(
        self, catalog: grpc.aio.Channel, payments: grpc.aio.Channel, notify: grpc.aio.Channel
    ) -> None:
        self.catalog = catalog_pb2_grpc.CatalogServiceStub(catalog)
        self.payments = payments_pb2_grpc.PaymentsServiceStub(payments)
        self.notify = notify_pb2_grpc.NotifyServiceStub(notify)

    async def quote(self, carts: Sequence[Cart]) -> list[QuoteAnswer]:
        """Price carts, in their order, or say why there is no price."""

        async def ask(batch: Sequence[Cart]) -> list[QuoteAnswer]:
            return _quote_answers(await self.catalog.BatchQuote(_quote_request(batch)))

        return await _in_batches(carts, ask, lambda cart: len(cart.items))

    async def protect_prices(
        self, standing_orders: Sequence[StandingOrder]
    ) -> list[Mapping[str, str]]:
        """Protect the sign-up prices; returns, in their order, why not: reasons by product (id)."""

        async def ask(batch: Sequence[StandingOrder]) -> list[Mapping[str, str]]:
            response = await self.catalog.BatchProtectPrices(
                catalog_pb2.BatchProtectPricesRequest(entries=[_protect(one) for one in batch])
            )
            return [_reasons(result.problems) for result in response.results]

        return await _in_batches(standing_orders, ask)

    async def phones_bound(self, customers: Sequence[str]) -> list[bool]:
        """Whether customers (by resource name) have a bound phone, in their order."""

        async def ask(batch: Sequence[str]) -> list[bool]:
            request = notify_pb2.BatchCheckContactsRequest(customers=batch)
            response = await self.notify.BatchCheckContacts(request)
            return [result.phone_bound for result in response.results]

        distinct = list(dict.fromkeys(customers))
        bound = dict(zip(distinct, await _in_batches(distinct, ask), strict=True))
        return [bound[customer] for customer in customers]

    async def refusals(
        self, questions: Sequence[MandateQuestion], planned: PlannedCharges | None = None
    ) -> list[tuple[str, ...]]:
        """Why mandates do not cover amounts, in their order; an empty answer: it does.

        With `planned`, what is planned already counts against the ceilings of months, and what is
        covered is added to it.
        """

        async def ask(batch: Sequence[MandateQuestion]) -> list[tuple[str, ...]]:
            request = payments_pb2.BatchCheckMandatesRequest(in_turn=planned is not None)
            for one in batch:
                check = request.checks.add(
                    mandate=one.mandate, amount=to_money(one.amount_minor, one.currency)
                )
                put_time(check.charge_time, one.charge_time)
                if planned and (planned_minor := planned.get(one.month, 0)):
                    check.planned_amount.CopyFrom(to_money(planned_minor, one.currency))
            response = await self.payments.BatchCheckMandates(request)
            answers = [
                tuple(payments_pb2.RefusalReason.Name(reason) for reason in result.reasons)
                for result in response.results
            ]
            if planned is not None:
                for one, reasons in zip(batch, answers, strict=True):
                    if not reasons:
                        planned[one.month] = planned.get(one.month, 0) + one.amount_minor
            return answers

        return await _in_batches(questions, ask)

    async def hold_stock(
        self, orders: Sequence[Order], expire_time: datetime
    ) -> list[frozenset[str]]:
        """Hold the stock of orders; returns for each, in their order, the products it is short of."""

        async def ask(batch: Sequence[Order]) -> list[frozenset[str]]:
            response = await self.catalog.BatchHoldStock(
                catalog_pb2.BatchHoldStockRequest(
                    entries=[
                        catalog_pb2.StockHoldRequest(
                            order=order_name(order.key),
                            items=_items(order.key.merchant, order.items),
                            expire_time=to_timestamp(expire_time),
                        )
                        for order in batch
                    ]
                )
            )
            return [_products(result.problems) for result in response.results]

        return await _in_batches(orders, ask)

    async def check_stock(self, orders: Sequence[Order]) -> list[frozenset[str]]:
        """What each order is short of as the stock is now, each by itself; nothing is held."""

        async def ask(batch: Sequence[Order]) -> list[frozenset[str]]:
            response = await self.catalog.BatchCheckStock(
                catalog_pb2.BatchCheckStockRequest(
                    checks=[
                        catalog_pb2.StockCheck(
                            merchant=f"merchants/{order.key.merchant}",
                            items=_items(order.key.merchant, order.items),
                        )
                        for order in batch
                    ]
                )
            )
            return [_products(result.problems) for result in response.results]

        return await _in_batches(orders, ask, lambda order: len(order.items))


def is_transient(error: Exception) -> bool:
    """Whether a failure lies in an outage, of a service or the database, not in what was asked."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() not in _FAULTS_OF_THE_QUESTION
    return is_outage(error)


async def _in_batches(
    asked: Sequence[A],
    ask: Callable[[Sequence[A]], Awaitable[list[B]]],
    lines: Callable[[A], int] = lambda _: 1,
) -> list[B]:
    answers: list[B] = []
    batch: list[A] = []
    batch_lines = 0
    for one in asked:
        batch_lines += lines(one)
        if len(batch) == BATCH_MAX_ENTRIES or (batch and batch_lines > BATCH_MAX_LINES):
            answers += await ask(batch)
            batch, batch_lines = [], lines(one)
        batch.append(one)
    return answers + await ask(batch) if batch else answers


def _items(merchant: MerchantId, items: Sequence[Item]) -> list[catalog_pb2.Item]:
    return [
        catalog_pb2.Item(product=product_name(merchant, item.product), quantity=item.quantity)
        for item in items
    ]


def _quote_request(carts: Sequence[Cart]) -> catalog_pb2.BatchQuoteRequest:
    request = catalog_pb2.BatchQuoteRequest()
    for cart in carts:
        merchant = cart.key.merchant
        message = request.carts.add(
            standing_order=standing_order_name(merchant, cart.key.standing_order),
            cycle=cart.key.cycle,
        )
        put_time(message.price_time, cart.price_time)
        for item in cart.items:
            message.items.add(product=product_name(merchant, item.product), quantity=item.quantity)
    return request


def _protect(standing_order: StandingOrder) -> catalog_pb2.ProtectPrices:
    merchant = standing_order.merchant
    protection = catalog_pb2.PriceProtection()
    if standing_order.price_protection:
        ParseDict(dict(standing_order.price_protection), protection)
    return catalog_pb2.ProtectPrices(
        standing_order=standing_order_name(merchant, standing_order.standing_order),
        products=[product_name(merchant, item.product) for item in standing_order.items],
        sign_up_time=to_timestamp(standing_order.create_time),
        protection=protection,
    )


def _unpriced(problems: Sequence[catalog_pb2.ItemProblem]) -> Unpriced:
    off_sale = {
        catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND,
        catalog_pb2.ItemProblem.PRODUCT_DISCONTINUED,
    }
    return Unpriced(
        tuple(dict.fromkeys(_REASONS[problem.reason] for problem in problems)),
        {_id(problem): problem.title for problem in problems},
        _products([problem for problem in problems if problem.reason in off_sale]),
        _reasons(problems),
    )


def _id(problem: catalog_pb2.ItemProblem) -> str:
    return problem.product.rpartition("/")[2]


def _reasons(problems: Sequence[catalog_pb2.ItemProblem]) -> Mapping[str, str]:
    """By product (id), what is wrong with it."""
    return {_id(one): catalog_pb2.ItemProblem.Reason.Name(one.reason) for one in problems}


def _products(problems: Sequence[catalog_pb2.ItemProblem]) -> frozenset[str]:
    """The products (ids) that problems are about."""
    return frozenset(map(_id, problems))


def _quote_answers(response: catalog_pb2.BatchQuoteResponse) -> list[QuoteAnswer]:
    """Quotes, or why there are none; equal lines are one and the same."""
    lines: dict[tuple[int, int], Line] = {}
    answers: list[QuoteAnswer] = []
    for result in response.results:
        if result.WhichOneof("result") == "problems":
            answers.append(_unpriced(result.problems.problems))
            continue
        found = []
        for line in result.quote.lines:
            key = (line.unit_price_index, line.quantity)
            if key not in lines:
                lines[key] = _line(response.unit_prices[line.unit_price_index], line.quantity)
            found.append(lines[key])
        total = from_money(result.quote.total)
        answers.append(Quote(total.amount_minor, total.currency, tuple(found)))
    return answers


def _line(unit: catalog_pb2.UnitPrice, quantity: int) -> Line:
    unit_price_minor = from_money(unit.amount).amount_minor
    return Line(
        product=unit.product,
        title=unit.title,
        quantity=quantity,
        unit_price_minor=unit_price_minor,
        amount_minor=unit_price_minor * quantity,
        price=unit.price,
        list_unit_price_minor=from_money(unit.list_amount).amount_minor,
        basis=catalog_pb2.UnitPrice.Basis.Name(unit.basis),
        list_price=unit.list_price,
    )
