"""Calls to the other services, always for a whole batch at once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeVar

import grpc
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from recurring.notify.v1 import notify_pb2, notify_pb2_grpc
from recurring.payments.v1 import payments_pb2, payments_pb2_grpc

from services.runtime.errors import FieldViolation, Problem, not_found, problem_of, wrong_state
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
from services.scheduler.domain.charge_rules import NO_RULES, ChargeRule, ChargeRules
from services.scheduler.domain.coverage import Supply
from services.scheduler.domain.ids import (
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import (
    Adjustment,
    Item,
    Line,
    LineTax,
    Order,
    OrderReason,
    Quote,
)
from services.scheduler.domain.price_agreements import Agreed, PriceAgreement
from services.scheduler.domain.price_changes import Holding
from services.scheduler.domain.slots import SlotDate
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import ItemAmount, Unpriced
from services.scheduler.names import PRICE, PRODUCT, order_name, product_name, standing_order_name

# The most that one call may carry, by the contracts.
BATCH_MAX_ENTRIES = 500
# So many lines, with names and titles as long as they may be and four adjustments each, stay below the
# largest message.
BATCH_MAX_LINES = 1_500

_REASONS = {
    catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND: OrderReason.PRODUCT_UNAVAILABLE,
    catalog_pb2.ItemProblem.PRODUCT_DISCONTINUED: OrderReason.PRODUCT_UNAVAILABLE,
    catalog_pb2.ItemProblem.PRICE_NOT_FOUND: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.CURRENCY_MISMATCH: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.TOTAL_TOO_LARGE: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.CURRENCY_NEEDED: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.TAX_UNAVAILABLE: OrderReason.TAX_UNAVAILABLE,
}

_FAULTS_OF_THE_QUESTION = frozenset(
    {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
)

# What the catalog says of a price that somebody has named, and they may know.
_REFUSALS = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND})

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Cart:
    """What to price, for which cycle, at which instant."""

    key: OrderKey
    items: tuple[Item, ...]
    price_time: datetime
    # When the standing order is made, where its prices are not protected yet.
    sign_up_time: datetime | None = None
    # Where it goes: a country or its part, such as `DE` or `US-CA`; empty: unknown.
    region_code: str = ""
    # Empty: the one that all products have a price in.
    currency: str = ""
    # The customer's, where a business orders; empty: a consumer.
    tax_id: str = ""
    # How its prices are protected; None: they are not.
    agreement: PriceAgreement | None = None


@dataclass(frozen=True, slots=True)
class MandateQuestion:
    """Whether a mandate covers an amount at an instant."""

    mandate: str
    amount_minor: int
    currency: str
    charge_time: datetime
    # What rule packs ask of the charge; what is not known is not checked.
    rules: ChargeRules = NO_RULES

    @property
    def month(self) -> tuple[str, int, int]:
        """The mandate, and the calendar month (UTC) whose ceiling counts."""
        utc = self.charge_time.astimezone(UTC)
        return self.mandate, utc.year, utc.month


class MandateAnswer(NamedTuple):
    """Why a mandate does not cover an amount (empty: it does), and what it is charged by."""

    reasons: tuple[str, ...]
    # The payment scheme; empty: one that no rule pack is about.
    scheme: str


# The resource name of a price version, or one that is not stored.
Version = str | catalog_pb2.DraftPrice


class PriceVersion(NamedTuple):
    """A version of a product's price."""

    merchant: MerchantId
    product: str
    currency: str
    effective_time: datetime
    version: Version


class PriceEffect(NamedTuple):
    """What the units of a product cost with a price version, and without it.

    What keeps the amount from rising holds up to a cycle (0: none), and before an instant.
    """

    amount_minor: int
    previous_minor: int
    currency: str
    held_through_cycle: int
    held_until_time: datetime | None
    # How many days before an increase its notice comes, at least and at most (0: no maximum).
    notice_min_days: int
    notice_max_days: int
    held_by: Holding | None


class SlotWish(NamedTuple):
    """An order whose services need slots on one of some days, the best one first."""

    order: Order
    dates: Sequence[SlotDate]
    expire_time: datetime


class ProtectionAnswer(NamedTuple):
    """How the prices of a standing order are protected, or why they are not."""

    # By product (id).
    problems: Mapping[str, str]
    # Why its promotion cannot be redeemed, and its offer not accepted, as the catalog names it.
    promotion: str
    offer: str
    # What is protected; None: nothing.
    agreed: Agreed | None


# By mandate, year and month (UTC): what is to be charged and has not been yet, in minor units.
PlannedCharges = dict[tuple[str, int, int], int]
# A quote, or why there is none.
QuoteAnswer = Quote | Unpriced


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
            return _quote_answers(batch, await self.catalog.BatchQuote(_quote_request(batch)))

        return await _in_batches(carts, ask, lambda cart: len(cart.items))

    async def quote_price_changes(
        self, carts: Sequence[Cart], versions: Sequence[Version], notice_time: datetime
    ) -> list[PriceEffect | None]:
        """What price versions change for carts, in their order; None: that cannot be said.

        Whoever was not told of a price yet is told at the instant that is given.
        """

        async def ask(batch: Sequence[tuple[Cart, Version]]) -> list[PriceEffect | None]:
            response = await self.catalog.BatchQuotePriceChanges(
                _price_changes_request(batch, notice_time)
            )
            return [_price_effect(result) for result in response.results]

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
            raise _passed_on(problem) from error
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
        request = _price_changes_request([(Cart(key, (Item(product, 1),), now), draft)], now)
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
                    entries=[_protect(standing_order) for standing_order in batch]
                )
            )
            return [
                ProtectionAnswer(
                    _reasons(result.problems),
                    catalog_pb2.PromotionProblem.Name(result.promotion_problem)
                    if result.promotion_problem
                    else "",
                    catalog_pb2.OfferProblem.Name(result.offer_problem)
                    if result.offer_problem
                    else "",
                    _agreed(result.agreed) if result.HasField("agreed") else None,
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

        With `planned`, what is planned already counts against the ceilings of months, and what is
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
                    amount=to_money(question.amount_minor, question.currency),
                )
                put_time(check.charge_time, question.charge_time)
                if rules := question.rules.message:
                    check.charge_rules_index = places.setdefault(rules, len(places))
                if planned and (planned_minor := planned.get(question.month, 0)):
                    check.planned_amount.CopyFrom(to_money(planned_minor, question.currency))
            request.charge_rules.extend(map(catalog_pb2.ChargeRules.FromString, places))
            response = await self.payments.BatchCheckMandates(request)
            answers = [
                MandateAnswer(
                    tuple(payments_pb2.RefusalReason.Name(reason) for reason in result.reasons),
                    _scheme(result.payment_scheme),
                )
                for result in response.results
            ]
            if planned is not None:
                for question, answer in zip(batch, answers, strict=True):
                    if not answer.reasons:
                        planned[question.month] = (
                            planned.get(question.month, 0) + question.amount_minor
                        )
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
                            items=_items(order.key.merchant, order.items),
                            expire_time=to_timestamp(expire_time),
                            due_time=to_timestamp(order.due_time),
                        )
                        for order in batch
                    ]
                )
            )
            return [_products(result.problems) for result in response.results]

        return await _in_batches(orders, ask)

    async def book_slots(self, wishes: Sequence[SlotWish]) -> Mapping[OrderKey, date | None]:
        """Book slots of services for orders; by order, the day that it gets, None: all are full."""

        async def ask(batch: Sequence[SlotWish]) -> list[date | None]:
            response = await self.catalog.BatchBookSlots(
                catalog_pb2.BatchBookSlotsRequest(entries=[_slot_request(wish) for wish in batch])
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
                            items=_items(order.key.merchant, order.items),
                        )
                        for order in batch
                    ]
                )
            )
            return [_products(result.problems) for result in response.results]

        return await _in_batches(orders, ask, lambda order: len(order.items))


class TaxServiceUnreachable(ConnectionError):
    """The tax service does not say what the taxes of a cart are; it will."""


def refuse_untaxed(answers: Sequence[QuoteAnswer]) -> None:
    """Raise TaxServiceUnreachable where a cart has no quote for want of its taxes alone."""
    for answer in answers:
        if isinstance(answer, Unpriced) and answer.reasons == (OrderReason.TAX_UNAVAILABLE,):
            raise TaxServiceUnreachable("the tax service gives no answer")


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


def _items(merchant: MerchantId, items: Sequence[Item]) -> list[catalog_pb2.Item]:
    return [
        catalog_pb2.Item(product=product_name(merchant, item.product), quantity=item.quantity)
        for item in items
    ]


def _slot_request(wish: SlotWish) -> catalog_pb2.SlotRequest:
    order = wish.order
    return catalog_pb2.SlotRequest(
        order=order_name(order.key),
        announcement_count=order.announcement_count,
        items=_items(order.key.merchant, order.items),
        dates=[
            catalog_pb2.SlotDate(date=to_date(day), due_time=to_timestamp(due_time))
            for day, due_time in wish.dates
        ],
        expire_time=to_timestamp(wish.expire_time),
    )


def _quote_request(carts: Sequence[Cart]) -> catalog_pb2.BatchQuoteRequest:
    request = catalog_pb2.BatchQuoteRequest()
    for cart in carts:
        merchant = cart.key.merchant
        message = request.carts.add(
            standing_order=standing_order_name(merchant, cart.key.standing_order),
            cycle=cart.key.cycle,
            region_code=cart.region_code,
            currency=cart.currency,
            tax_id=cart.tax_id,
        )
        put_time(message.price_time, cart.price_time)
        if cart.sign_up_time is not None:
            put_time(message.sign_up_time, cart.sign_up_time)
        if cart.agreement is not None and cart.agreement.protection is not None:
            _put_agreement(message.agreement, cart.agreement)
        for item in cart.items:
            message.items.add(product=product_name(merchant, item.product), quantity=item.quantity)
    return request


def _price_changes_request(
    batch: Sequence[tuple[Cart, Version]], notice_time: datetime
) -> catalog_pb2.BatchQuotePriceChangesRequest:
    request = catalog_pb2.BatchQuotePriceChangesRequest()
    carts = _quote_request([cart for cart, _ in batch]).carts
    for message, (_, version) in zip(carts, batch, strict=True):
        entry = request.entries.add(cart=message)
        put_time(entry.notice_time, notice_time)
        if isinstance(version, str):
            entry.price = version
        else:
            entry.draft.CopyFrom(version)
    return request


def _passed_on(problem: Problem) -> Problem:
    """What the catalog says of a draft, by the fields of a request that has it alone."""
    violations = tuple(
        FieldViolation(
            violation.field.removeprefix("entries[0]."), violation.reason, violation.description
        )
        for violation in problem.violations
    )
    return replace(problem, violations=violations)


def _put_agreement(message: catalog_pb2.PriceAgreement, agreement: PriceAgreement) -> None:
    message.first_cycle = agreement.first_cycle
    put_time(message.agree_time, agreement.agree_time)
    protection = message.price_protection
    match agreement.protection:
        case {"offer": str(offer)}:
            protection.offer = offer
        case {"cap": cap}:
            protection.cap.increase_limit_bps = cap.get("increase_limit_bps", 0)
        case {"lock": lock}:
            protection.lock.cycle_count = lock.get("cycle_count", 0)
            if "until_time" in lock:
                protection.lock.until_time.FromJsonString(lock["until_time"])


def _agreed(message: catalog_pb2.AgreedProtection) -> Agreed:
    return Agreed(
        message.last_cycle,
        from_timestamp(message.until_time) if message.HasField("until_time") else None,
        message.survives_schedule_changes,
        {PRICE.key(name).product: name for name in message.prices},
    )


def _protect(standing_order: StandingOrder) -> catalog_pb2.ProtectPrices:
    merchant = standing_order.merchant
    entry = catalog_pb2.ProtectPrices(
        standing_order=standing_order_name(merchant, standing_order.standing_order),
        products=[product_name(merchant, item.product) for item in standing_order.items],
        # New products of an old standing order are signed up to when they are added.
        sign_up_time=to_timestamp(standing_order.update_time),
        currency=standing_order.currency,
        # A promotion is redeemed at sign-up only.
        first_cycle=(standing_order.next_cycle or 1) if _is_new(standing_order) else 0,
        promotion_code=standing_order.promotion_code if _is_new(standing_order) else "",
    )
    if standing_order.price_agreement is not None:
        _put_agreement(entry.agreement, standing_order.price_agreement)
    return entry


def _is_new(standing_order: StandingOrder) -> bool:
    return standing_order.create_time == standing_order.update_time


def _unpriced(cart: Cart, problems: Sequence[catalog_pb2.ItemProblem]) -> Unpriced:
    off_sale = {
        catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND,
        catalog_pb2.ItemProblem.PRODUCT_DISCONTINUED,
    }
    return Unpriced(
        tuple(dict.fromkeys(_REASONS[problem.reason] for problem in problems)),
        {_id(problem): problem.title for problem in problems},
        _products([problem for problem in problems if problem.reason in off_sale]),
        _amounts(cart, problems),
        _reasons(problems),
    )


def _amounts(cart: Cart, problems: Sequence[catalog_pb2.ItemProblem]) -> Mapping[str, ItemAmount]:
    """By product (id), what is off sale for good would have cost."""
    quantities = {item.product: item.quantity for item in cart.items}
    amounts = {
        _id(problem): from_money(problem.amount)
        for problem in problems
        if problem.HasField("amount")
    }
    return {
        product: ItemAmount(amount.amount_minor, quantities[product], amount.currency)
        for product, amount in amounts.items()
    }


def _id(problem: catalog_pb2.ItemProblem) -> str:
    return problem.product.rpartition("/")[2]


def _reasons(problems: Sequence[catalog_pb2.ItemProblem]) -> Mapping[str, str]:
    """By product (id), what is wrong with it."""
    return {
        _id(problem): catalog_pb2.ItemProblem.Reason.Name(problem.reason) for problem in problems
    }


def _products(problems: Sequence[catalog_pb2.ItemProblem]) -> frozenset[str]:
    """The products (ids) that problems are about."""
    return frozenset(map(_id, problems))


def _quote_answers(
    carts: Sequence[Cart], response: catalog_pb2.BatchQuoteResponse
) -> list[QuoteAnswer]:
    """Quotes, or why there are none; equal lines are one and the same."""
    lines = [_line(line, response.applied_tax_rates) for line in response.lines]
    rules = [_charge_rules(message) for message in response.charge_rules]
    answers: list[QuoteAnswer] = []
    for cart, result in zip(carts, response.results, strict=True):
        if result.WhichOneof("result") == "problems":
            answers.append(_unpriced(cart, result.problems.problems))
            continue
        total = from_money(result.quote.total)
        quote_lines = tuple(lines[index] for index in result.quote.line_indexes)
        services = tuple(
            cart.items[place].product
            for place, index in enumerate(result.quote.line_indexes)
            if response.lines[index].capacity_by_day
        )
        binding = rules[result.quote.charge_rules_index]
        answers.append(Quote(total.amount_minor, total.currency, quote_lines, binding, services))
    return answers


def _charge_rules(message: catalog_pb2.ChargeRules) -> ChargeRules:
    return ChargeRules(
        message.SerializeToString(deterministic=True),
        {
            _scheme(entry.payment_scheme): tuple(map(_charge_rule, entry.rules))
            for entry in message.schemes
        },
    )


def _scheme(value: catalog_pb2.PaymentScheme.ValueType) -> str:
    return catalog_pb2.PaymentScheme.Name(value) if value else ""


def _charge_rule(message: catalog_pb2.BindingRule) -> ChargeRule:
    """A rule as far as it decides how an order is announced; payments reads all of it."""
    rule = message.rule
    found = ChargeRule(message.rule_pack, rule.id, rule.source)
    if rule.HasField("debit_notice_lead"):
        return found._replace(notice_lead=rule.debit_notice_lead.ToTimedelta())
    if rule.HasField("confirmation_above"):
        amount = from_money(rule.confirmation_above)
        return found._replace(
            confirmation_above_minor=amount.amount_minor, confirmation_currency=amount.currency
        )
    return found


def _price_effect(result: catalog_pb2.PriceChangeResult) -> PriceEffect | None:
    if result.WhichOneof("result") == "problems":
        return None
    quote = result.quote
    amount = from_money(quote.amount)
    held = quote.HasField("held_until_time")
    return PriceEffect(
        amount.amount_minor,
        from_money(quote.previous_amount).amount_minor,
        amount.currency,
        quote.held_through_cycle,
        from_timestamp(quote.held_until_time) if held else None,
        quote.notice_min_days,
        quote.notice_max_days,
        Holding(catalog_pb2.PriceAdjustment.Kind.Name(quote.held_by)) if quote.held_by else None,
    )


def _line(line: catalog_pb2.QuoteLine, rates: Sequence[catalog_pb2.AppliedTaxRate]) -> Line:
    return Line(
        product=line.product,
        title=line.title,
        quantity=line.quantity,
        unit_price_minor=from_money(line.unit_price).amount_minor,
        amount_minor=from_money(line.amount).amount_minor,
        price=line.price,
        list_unit_price_minor=from_money(line.list_unit_price).amount_minor,
        list_amount_minor=from_money(line.list_amount).amount_minor,
        list_price=line.list_price,
        adjustments=tuple(
            Adjustment(
                catalog_pb2.PriceAdjustment.Kind.Name(adjustment.kind),
                from_money(adjustment.amount).amount_minor,
                adjustment.price,
                adjustment.promotion,
                adjustment.promotion_title,
                adjustment.rule,
                adjustment.offer,
                adjustment.beaten_price,
            )
            for adjustment in line.adjustments
        ),
        net_minor=from_money(line.net_amount).amount_minor if line.taxes else None,
        taxes=tuple(_tax(tax, rates[tax.applied_tax_rate_index]) for tax in line.taxes),
    )


def _tax(tax: catalog_pb2.LineTax, rate: catalog_pb2.AppliedTaxRate) -> LineTax:
    return LineTax(
        rate.tax_rate,
        rate.title,
        rate.rate_ppm,
        rate.compound,
        catalog_pb2.TaxRate.TaxIdTreatment.Name(rate.treatment),
        from_money(tax.amount).amount_minor,
    )
