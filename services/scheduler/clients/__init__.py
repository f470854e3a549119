"""Calls to the other services, always for a whole batch at once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar

import grpc
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from recurring.notify.v1 import notify_pb2, notify_pb2_grpc
from recurring.payments.v1 import payments_pb2, payments_pb2_grpc

from services.runtime.errors import Problem, not_found, problem_of, wrong_state
from services.runtime.observability.outages import is_outage
from services.runtime.rpc.conversions import (
    from_date,
    from_money,
    from_timestamp,
    put_time,
    to_date,
    to_money,
    to_timestamp,
)
from services.scheduler.clients import catalog_messages as messages
from services.scheduler.clients.questions import (
    BATCH_MAX_ENTRIES,
    BATCH_MAX_LINES,
    Cart,
    MandateAnswer,
    MandateQuestion,
    PlannedCharge,
    PlannedCharges,
    PriceEffect,
    PriceVersion,
    ProtectionAnswer,
    QuoteAnswer,
    SlotWish,
    Version,
)
from services.scheduler.domain.coverage import Supply
from services.scheduler.domain.ids import (
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import (
    Item,
    Order,
    OrderReason,
    OrderState,
)
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import Unpriced
from services.scheduler.names import PRODUCT, order_name, standing_order_name

_FAULTS_OF_THE_QUESTION = frozenset(
    {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
)

# What the catalog says of a price that somebody has named, and they may know.
_REFUSALS = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND})

A = TypeVar("A")
B = TypeVar("B")


class Clients:
    """Calls catalog, payments and notify."""

    def __init__(
        self, catalog: grpc.aio.Channel, payments: grpc.aio.Channel, notify: grpc.aio.Channel
    ) -> None:
        self.catalog = catalog_pb2_grpc.CatalogServiceStub(catalog)
        self.payments = payments_pb2_grpc.PaymentsServiceStub(payments)
        self.notify = notify_pb2_grpc.NotifyServiceStub(notify)

    async def quote(self, carts: Sequence[Cart]) -> list[QuoteAnswer]:
        """Price carts, in their order, or say why there is no price."""

        async def ask(batch: Sequence[Cart]) -> list[QuoteAnswer]:
            return messages.quote_answers(
                batch, await self.catalog.BatchQuote(messages.quote_request(batch))
            )

        return await _in_batches(carts, ask, lambda cart: len(cart.items))

    async def quote_price_changes(
        self, carts: Sequence[Cart], versions: Sequence[Version], notice_time: datetime
    ) -> list[PriceEffect | None]:
        """What price versions change for carts, in their order; None: that cannot be said.

        Whoever was not notified of a price yet is notified at the instant that is given.
        """

        async def ask(batch: Sequence[tuple[Cart, Version]]) -> list[PriceEffect | None]:
            response = await self.catalog.BatchQuotePriceChanges(
                messages.price_changes_request(batch, notice_time)
            )
            return [messages.price_effect(result) for result in response.results]

        pairs = list(zip(carts, versions, strict=True))
        return await _in_batches(pairs, ask, lambda pair: len(pair[0].items))

    async def price_version(self, version: Version, now: datetime) -> PriceVersion:
        """What a version is of, and when it takes effect.

        Raises NOT_FOUND PRICE_NOT_FOUND or PRODUCT_NOT_FOUND, FAILED_PRECONDITION PRICE_WITHDRAWN or
        PRODUCT_DISCONTINUED, and INVALID_ARGUMENT with what is wrong with a draft.
        """
        try:
            if isinstance(version, str):
                price = await self.catalog.GetPrice(catalog_pb2.GetPriceRequest(name=version))
            else:
                price = version.price
                await self._check_draft(version, now)
        except grpc.aio.AioRpcError as error:
            problem = problem_of(error)
            if problem is None or problem.code not in _REFUSALS:
                raise
            raise messages.passed_on(problem) from error
        if price.HasField("withdraw_time"):
            raise wrong_state("PRICE_WITHDRAWN", "the price was withdrawn")
        product = version.product if not isinstance(version, str) else version.split("/prices/")[0]
        merchant, product = PRODUCT.parse(product)
        return PriceVersion(
            MerchantId(merchant),
            product,
            price.unit_price.currency_code,
            from_timestamp(price.effective_time) if price.HasField("effective_time") else now,
            version,
        )

    async def _check_draft(self, draft: catalog_pb2.DraftPrice, now: datetime) -> None:
        """Ask for a draft, whether or not anybody repeats its product."""
        merchant, product = PRODUCT.parse(draft.product)
        key = OrderKey(MerchantId(merchant), StandingOrderId("draft"), 1)
        request = messages.price_changes_request(
            [(Cart(key, (Item(product, 1),), now), draft)], now
        )
        [result] = (await self.catalog.BatchQuotePriceChanges(request)).results
        reasons = {problem.reason for problem in result.problems.problems}
        if catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND in reasons:
            raise not_found("PRODUCT_NOT_FOUND", draft.product)
        if catalog_pb2.ItemProblem.PRODUCT_DISCONTINUED in reasons:
            raise wrong_state("PRODUCT_DISCONTINUED", "the product is off sale for good")

    async def protect_prices(
        self, standing_orders: Sequence[StandingOrder]
    ) -> list[ProtectionAnswer]:
        """Remember sign-up prices, accept offers and redeem promotions; in their order."""

        async def ask(batch: Sequence[StandingOrder]) -> list[ProtectionAnswer]:
            response = await self.catalog.BatchProtectPrices(
                catalog_pb2.BatchProtectPricesRequest(
                    entries=[messages.protect_request(standing_order) for standing_order in batch]
                )
            )
            return [
                ProtectionAnswer(
                    messages.reasons_by_product(result.problems),
                    catalog_pb2.PromotionProblem.Name(result.promotion_problem)
                    if result.promotion_problem
                    else "",
                    catalog_pb2.OfferProblem.Name(result.offer_problem)
                    if result.offer_problem
                    else "",
                    messages.agreed_of(result.agreed) if result.HasField("agreed") else None,
                    messages.ending_promotion_of(result.promotion)
                    if result.HasField("promotion")
                    else None,
                )
                for result in response.results
            ]

        return await _in_batches(standing_orders, ask)

    async def release_promotions(self, standing_orders: Sequence[StandingOrderKey]) -> None:
        """Give back the promotions that standing orders redeemed whose sign-up failed."""

        async def ask(batch: Sequence[StandingOrderKey]) -> list[None]:
            names = [standing_order_name(*key) for key in batch]
            request = catalog_pb2.BatchReleasePromotionsRequest(standing_orders=names)
            await self.catalog.BatchReleasePromotions(request)
            return [None] * len(batch)

        await _in_batches(standing_orders, ask)

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

        With `planned`, what is planned already counts against the ceilings of periods, and what is
        covered is added to it.
        """
        return [answer.reasons for answer in await self.check_mandates(questions, planned)]

    async def check_mandates(
        self, questions: Sequence[MandateQuestion], planned: PlannedCharges | None = None
    ) -> list[MandateAnswer]:
        """As `refusals`, with what each mandate is charged by."""

        async def ask(batch: Sequence[MandateQuestion]) -> list[MandateAnswer]:
            request = payments_pb2.BatchCheckMandatesRequest(in_turn=planned is not None)
            places: dict[bytes, int] = {}
            for question in batch:
                check = request.checks.add(
                    mandate=question.mandate,
                    standing_order=question.standing_order,
                    amount=to_money(question.amount_minor, question.currency),
                )
                put_time(check.charge_time, question.charge_time)
                if rules := question.rules.message:
                    check.charge_rules_index = places.setdefault(rules, len(places))
            for mandate in dict.fromkeys(question.mandate for question in batch):
                if charges := (planned or {}).get(mandate):
                    request.planned_charges.append(_planned_charges(mandate, charges))
            request.charge_rules.extend(map(catalog_pb2.ChargeRules.FromString, places))
            response = await self.payments.BatchCheckMandates(request)
            answers = [
                MandateAnswer(
                    tuple(payments_pb2.RefusalReason.Name(reason) for reason in result.reasons),
                    messages.scheme_of(result.payment_scheme),
                    result.has_period_ceiling,
                    result.lead.ToTimedelta(),
                    from_money(result.credit_amount).amount_minor
                    if result.HasField("credit_amount")
                    else 0,
                )
                for result in response.results
            ]
            if planned is not None:
                for question, answer in zip(batch, answers, strict=True):
                    if answer.counts:
                        planned.setdefault(question.mandate, []).append(question.charge)
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
                            announcement_count=order.announcement_count,
                            items=messages.item_messages(order.key.merchant, order.items),
                            expire_time=to_timestamp(expire_time),
                            due_time=to_timestamp(order.due_time),
                            paid=order.state is OrderState.PAID,
                        )
                        for order in batch
                    ]
                )
            )
            return [messages.products_of(result.problems) for result in response.results]

        return await _in_batches(orders, ask)

    async def book_slots(self, wishes: Sequence[SlotWish]) -> Mapping[OrderKey, date | None]:
        """Book slots of services for orders; by order, the day that it gets, None: all are full."""

        async def ask(batch: Sequence[SlotWish]) -> list[date | None]:
            response = await self.catalog.BatchBookSlots(
                catalog_pb2.BatchBookSlotsRequest(
                    entries=[messages.slot_request(wish) for wish in batch]
                )
            )
            return [
                from_date(result.date) if result.HasField("date") else None
                for result in response.results
            ]

        days = await _in_batches(wishes, ask)
        return {wish.order.key: day for wish, day in zip(wishes, days, strict=True)}

    async def supplies(
        self, products: Sequence[str], first: date, last: date
    ) -> Mapping[str, Supply]:
        """What there is of products (by name), and what is expected; of services, day by day."""

        async def ask(batch: Sequence[str]) -> list[catalog_pb2.ProductSupply]:
            request = catalog_pb2.BatchCheckSupplyRequest(
                products=batch, start_date=to_date(first), end_date=to_date(last)
            )
            return list((await self.catalog.BatchCheckSupply(request)).supplies)

        return {
            supply.product: Supply(
                supply.title,
                supply.available_units,
                [
                    (from_date(delivery.expected_date), delivery.units)
                    for delivery in supply.expected_deliveries
                ],
                supply.stock_tracked or supply.capacity_by_day,
                {part.product: part.quantity for part in supply.bundle_parts},
                {from_date(day.date): day.slots for day in supply.service_days}
                if supply.capacity_by_day
                else None,
            )
            for supply in await _in_batches(products, ask)
        }

    async def check_stock(self, orders: Sequence[Order]) -> list[frozenset[str]]:
        """What each order is short of as the stock is now, each by itself; nothing is held."""

        async def ask(batch: Sequence[Order]) -> list[frozenset[str]]:
            response = await self.catalog.BatchCheckStock(
                catalog_pb2.BatchCheckStockRequest(
                    checks=[
                        catalog_pb2.StockCheck(
                            merchant=f"merchants/{order.key.merchant}",
                            items=messages.item_messages(order.key.merchant, order.items),
                        )
                        for order in batch
                    ]
                )
            )
            return [messages.products_of(result.problems) for result in response.results]

        return await _in_batches(orders, ask, lambda order: len(order.items))


def refuse_untaxed(answers: Sequence[QuoteAnswer]) -> None:
    """Refuse carts of which one has no quote for want of its taxes alone.

    Raises UNAVAILABLE DEPENDENCY_UNAVAILABLE.
    """
    for answer in answers:
        if isinstance(answer, Unpriced) and answer.reasons == (OrderReason.TAX_UNAVAILABLE,):
            raise Problem(
                grpc.StatusCode.UNAVAILABLE,
                "DEPENDENCY_UNAVAILABLE",
                "the tax service gives no answer; try again",
            )


def is_transient(error: Exception) -> bool:
    """Whether a failure lies in an outage, of a service or the database, not in the request."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() not in _FAULTS_OF_THE_QUESTION
    return is_outage(error)


async def _in_batches(
    entries: Sequence[A],
    ask: Callable[[Sequence[A]], Awaitable[list[B]]],
    lines: Callable[[A], int] = lambda _: 1,
) -> list[B]:
    answers: list[B] = []
    batch: list[A] = []
    batch_lines = 0
    for entry in entries:
        batch_lines += lines(entry)
        if len(batch) == BATCH_MAX_ENTRIES or (batch and batch_lines > BATCH_MAX_LINES):
            answers += await ask(batch)
            batch, batch_lines = [], lines(entry)
        batch.append(entry)
    return answers + await ask(batch) if batch else answers


def _planned_charges(mandate: str, charges: Sequence[PlannedCharge]) -> payments_pb2.PlannedCharges:
    message = payments_pb2.PlannedCharges(mandate=mandate)
    for charge in charges:
        planned = message.charges.add(amount=to_money(charge.amount_minor, charge.currency))
        put_time(planned.charge_time, charge.charge_time)
    return message
