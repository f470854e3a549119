"""From the domain to the messages of the catalog, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from recurring.catalog.v1 import catalog_pb2

from services.runtime.errors import FieldViolation, Problem
from services.runtime.rpc.conversions import (
    from_money,
    from_timestamp,
    put_time,
    to_date,
    to_timestamp,
)
from services.scheduler.clients.questions import Cart, PriceEffect, QuoteAnswer, SlotWish, Version
from services.scheduler.domain.charge_rules import ChargeRule, ChargeRules
from services.scheduler.domain.ids import (
    MerchantId,
)
from services.scheduler.domain.order import (
    Adjustment,
    Item,
    Line,
    LineTax,
    OrderReason,
    OrderState,
    Quote,
)
from services.scheduler.domain.price_agreements import Agreed, PriceAgreement
from services.scheduler.domain.price_changes import Holding
from services.scheduler.domain.promotions import EndingPromotion
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import ItemAmount, Unpriced
from services.scheduler.names import PRICE, order_name, product_name, standing_order_name

_REASONS = {
    catalog_pb2.ItemProblem.PRODUCT_NOT_FOUND: OrderReason.PRODUCT_UNAVAILABLE,
    catalog_pb2.ItemProblem.PRODUCT_DISCONTINUED: OrderReason.PRODUCT_UNAVAILABLE,
    catalog_pb2.ItemProblem.PRICE_NOT_FOUND: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.CURRENCY_MISMATCH: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.TOTAL_TOO_LARGE: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.CURRENCY_NEEDED: OrderReason.PRICE_UNAVAILABLE,
    catalog_pb2.ItemProblem.TAX_UNAVAILABLE: OrderReason.TAX_UNAVAILABLE,
}


def item_messages(merchant: MerchantId, items: Sequence[Item]) -> list[catalog_pb2.Item]:
    """Items, by the names of their products."""
    return [
        catalog_pb2.Item(product=product_name(merchant, item.product), quantity=item.quantity)
        for item in items
    ]


def slot_request(wish: SlotWish) -> catalog_pb2.SlotRequest:
    """Slots for an order, on the best free one of its dates."""
    order = wish.order
    return catalog_pb2.SlotRequest(
        order=order_name(order.key),
        announcement_count=order.announcement_count,
        items=item_messages(order.key.merchant, order.items),
        dates=[
            catalog_pb2.SlotDate(date=to_date(day), due_time=to_timestamp(due_time))
            for day, due_time in wish.dates
        ],
        expire_time=to_timestamp(wish.expire_time),
        paid=order.state is OrderState.PAID,
        order_stored=wish.order_stored,
    )


def quote_request(carts: Sequence[Cart]) -> catalog_pb2.BatchQuoteRequest:
    """A question for the quotes of carts."""
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


def price_changes_request(
    batch: Sequence[tuple[Cart, Version]], notice_time: datetime
) -> catalog_pb2.BatchQuotePriceChangesRequest:
    """A question for what price versions change for carts."""
    request = catalog_pb2.BatchQuotePriceChangesRequest()
    carts = quote_request([cart for cart, _ in batch]).carts
    for message, (_, version) in zip(carts, batch, strict=True):
        entry = request.entries.add(cart=message)
        put_time(entry.notice_time, notice_time)
        if isinstance(version, str):
            entry.price = version
        else:
            entry.draft.CopyFrom(version)
    return request


def passed_on(problem: Problem) -> Problem:
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


def agreed_of(message: catalog_pb2.AgreedProtection) -> Agreed:
    """What of the prices of a standing order is protected."""
    return Agreed(
        message.last_cycle,
        from_timestamp(message.until_time) if message.HasField("until_time") else None,
        message.survives_schedule_changes,
        {PRICE.key(name).product: name for name in message.prices},
    )


def ending_promotion_of(message: catalog_pb2.EndingPromotion) -> EndingPromotion:
    """A promotion that a standing order has redeemed, and that ends."""
    return EndingPromotion(
        message.promotion,
        message.title,
        message.last_cycle,
        from_timestamp(message.until_time) if message.HasField("until_time") else None,
        message.notice_days,
    )


def protect_request(standing_order: StandingOrder) -> catalog_pb2.ProtectPrices:
    """The sign-up prices of a standing order to be remembered, its offer and promotion taken."""
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
        products_of([problem for problem in problems if problem.reason in off_sale]),
        _amounts(cart, problems),
        reasons_by_product(problems),
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


def reasons_by_product(problems: Sequence[catalog_pb2.ItemProblem]) -> Mapping[str, str]:
    """By product (id), what is wrong with it."""
    return {
        _id(problem): catalog_pb2.ItemProblem.Reason.Name(problem.reason) for problem in problems
    }


def products_of(problems: Sequence[catalog_pb2.ItemProblem]) -> frozenset[str]:
    """The products (ids) that problems are about."""
    return frozenset(map(_id, problems))


def quote_answers(
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
            scheme_of(entry.payment_scheme): tuple(map(_charge_rule, entry.rules))
            for entry in message.schemes
        },
    )


def scheme_of(value: catalog_pb2.PaymentScheme.ValueType) -> str:
    """A payment scheme by its name; empty: none that a rule pack is about."""
    # A later one of payments has no name here, and no rules of its own.
    known = value in catalog_pb2.PaymentScheme.values()
    return catalog_pb2.PaymentScheme.Name(value) if value and known else ""


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


def price_effect(result: catalog_pb2.PriceChangeResult) -> PriceEffect | None:
    """What a price version changes; None: that cannot be said."""
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
