"""From the domain to messages."""

from collections.abc import Sequence
from functools import lru_cache

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api.rule_pack_messages import charge_rules_message
from services.catalog.application.prices import Quoted
from services.catalog.domain.price_changes import ChangedAmount
from services.catalog.domain.prices import Price
from services.catalog.domain.pricing import Adjustment, AdjustmentKind, Line
from services.catalog.domain.products import (
    Fault,
    Item,
    MerchantId,
    Product,
    ProductKey,
    StandingOrderKey,
)
from services.catalog.domain.protections import Protection
from services.catalog.domain.rule_packs import ChargeRules
from services.catalog.domain.stock import HoldRequest, Stock
from services.catalog.domain.tax import AppliedRate
from services.catalog.names import (
    OFFER,
    PRICE,
    PRODUCT,
    PROMOTION,
    RULE_PACK,
    STANDING_ORDER,
    TAX_RATE,
)
from services.catalog.store.promotions import Released
from services.runtime.db import audit
from services.runtime.rpc.conversions import etag, optional_timestamp, to_money, to_timestamp

_CACHED_LINES = 16_384


def product_message(product: Product) -> catalog_pb2.Product:
    """A product as callers see it."""
    return catalog_pb2.Product(
        name=PRODUCT.format(*product.key),
        title=product.title,
        increase_notice_days=product.increase_notice_days,
        stock_tracked=product.stock_tracked,
        low_stock_threshold=product.low_stock_threshold,
        tax_category=product.tax_category,
        state=catalog_pb2.Product.State.Value(product.state),
        create_time=to_timestamp(product.create_time),
        etag=etag(product.version),
        bundle_parts=map(item_message, product.parts),
        capacity_by_day=product.capacity_by_day,
    )


def item_message(item: Item) -> catalog_pb2.Item:
    """A product and how many of it."""
    return catalog_pb2.Item(product=PRODUCT.format(*item.key), quantity=item.quantity)


def price_message(price: Price) -> catalog_pb2.Price:
    """A price as callers see it."""
    return catalog_pb2.Price(
        name=PRICE.format(*price.key),
        unit_price=to_money(price.unit_price_minor, price.currency),
        effective_time=to_timestamp(price.effective_time),
        announce_time=to_timestamp(price.announce_time),
        withdraw_time=optional_timestamp(price.withdraw_time),
        etag=etag(price.version),
        tiers=_tier_messages(price),
        tier_mode=(
            catalog_pb2.Price.TierMode.Value(price.tier_mode)
            if price.tier_mode
            else catalog_pb2.Price.TIER_MODE_UNSPECIFIED
        ),
        subscriber_discount_bps=price.subscriber_discount_bps,
    )


def batch_message(prices: Sequence[Price]) -> catalog_pb2.BatchCreatePricesResponse:
    """Prices that were added together."""
    return catalog_pb2.BatchCreatePricesResponse(prices=map(price_message, prices))


def _tier_messages(price: Price) -> list[catalog_pb2.PriceTier]:
    # The last one has no end.
    lasts = [following.first_quantity - 1 for following in price.tiers[1:]]
    return [
        catalog_pb2.PriceTier(
            first_quantity=tier.first_quantity,
            last_quantity=last,
            unit_price=to_money(tier.unit_price_minor, price.currency),
        )
        for tier, last in zip(price.tiers, [*lasts, 0], strict=False)
    ]


def stock_message(stock: Stock) -> catalog_pb2.Stock:
    """The units of a product as callers see them."""
    return catalog_pb2.Stock(
        product=PRODUCT.format(*stock.key),
        on_hand_units=stock.on_hand_units,
        held_units=stock.held_units,
        available_units=stock.available_units,
        committed_units=stock.committed_units,
    )


def protection_response(
    results: Sequence[Sequence[Line | Fault]],
    promotion_problems: Sequence[catalog_pb2.PromotionProblem.ValueType],
    offer_problems: Sequence[catalog_pb2.OfferProblem.ValueType],
    agreed: Sequence[catalog_pb2.AgreedProtection | None],
    endings: Sequence[catalog_pb2.EndingPromotion | None],
) -> catalog_pb2.BatchProtectPricesResponse:
    """What is wrong with each entry, or else what is protected."""
    return catalog_pb2.BatchProtectPricesResponse(
        results=[
            catalog_pb2.ProtectPricesResult(
                problems=problem_messages(result),
                promotion_problem=promotion_problem,
                offer_problem=offer_problem,
                agreed=protected,
                promotion=ending,
            )
            for result, promotion_problem, offer_problem, protected, ending in zip(
                results, promotion_problems, offer_problems, agreed, endings, strict=True
            )
        ]
    )


def hold_response(faults: Sequence[Sequence[Fault]]) -> catalog_pb2.BatchHoldStockResponse:
    """What each order lacks; nothing if it has its hold."""
    return catalog_pb2.BatchHoldStockResponse(
        results=[
            catalog_pb2.StockHoldResult(problems=problem_messages(result)) for result in faults
        ]
    )


def check_response(faults: Sequence[Sequence[Fault]]) -> catalog_pb2.BatchCheckStockResponse:
    """What is short of each check's items."""
    return catalog_pb2.BatchCheckStockResponse(
        results=[
            catalog_pb2.StockCheckResult(problems=problem_messages(result)) for result in faults
        ]
    )


def problem_messages(result: Sequence[Line | Fault]) -> list[catalog_pb2.ItemProblem]:
    """What is wrong with the items of an entry; empty if nothing is."""
    return [
        catalog_pb2.ItemProblem(
            product=PRODUCT.format(*fault.key),
            reason=catalog_pb2.ItemProblem.Reason.Value(fault.fault),
            title=fault.title,
            available_units=fault.available_units,
            amount=(
                None if fault.amount_minor is None else to_money(fault.amount_minor, fault.currency)
            ),
        )
        for fault in result
        if isinstance(fault, Fault)
    ]


def protection_changes(
    entries: Sequence[catalog_pb2.ProtectPrices], new: Sequence[Protection]
) -> list[audit.Change]:
    """What was remembered for standing orders: prices, and what protects them."""
    protections: dict[StandingOrderKey, list[Protection]] = {}
    for protection in new:
        key = StandingOrderKey(protection.merchant, protection.standing_order)
        protections.setdefault(key, []).append(protection)
    return [
        _protection_change(entry, protected)
        for entry in entries
        if (protected := protections.pop(STANDING_ORDER.key(entry.standing_order), []))
    ]


def _protection_change(
    entry: catalog_pb2.ProtectPrices, protected: Sequence[Protection]
) -> audit.Change:
    merchant = protected[0].merchant
    after = {
        "standing_order": entry.standing_order,
        "prices": [
            PRICE.format(merchant, protection.product, protection.sign_up_price)
            for protection in protected
        ],
        "sign_up_time": entry.sign_up_time.ToJsonString(),
        "protection": audit.masked(entry.agreement.price_protection),
    }
    return audit.Change(merchant, entry.standing_order, after)


def release_changes(released: Sequence[Released]) -> list[audit.Change]:
    """What standing orders gave back that they had redeemed."""
    return [
        audit.Change(
            redemption.merchant,
            STANDING_ORDER.format(redemption.merchant, redemption.standing_order),
            {"promotion": ""},
            {"promotion": PROMOTION.format(redemption.merchant, redemption.promotion)},
        )
        for redemption in released
    ]


def hold_change(hold: HoldRequest) -> audit.Change:
    """What is held for an order."""
    after = {
        "order": hold.order,
        "items": [
            {"product": PRODUCT.format(*item.key), "quantity": item.quantity} for item in hold.items
        ],
        "expire_time": to_timestamp(hold.expire_time).ToJsonString(),
    }
    return audit.Change(hold.items[0].key.merchant, hold.order, after)


def quote_response(quoted: Sequence[Quoted]) -> catalog_pb2.BatchQuoteResponse:
    """Quotes, or why there are none, with each line once."""
    response = catalog_pb2.BatchQuoteResponse()
    indexes: dict[Line, int] = {}
    rates: dict[tuple[MerchantId, AppliedRate], int] = {}
    rules: dict[ChargeRules, int] = {}
    for result, charge_rules, _ in quoted:
        lines = [line for line in result if isinstance(line, Line)]
        if len(lines) < len(result):
            response.results.add().problems.problems.extend(problem_messages(result))
            continue
        quote = response.results.add().quote
        total_minor = sum(line.gross_minor for line in lines)
        quote.total.CopyFrom(to_money(total_minor, lines[0].currency))
        for line in lines:
            index = indexes.setdefault(line, len(indexes))
            if index == len(response.lines):
                response.lines.append(_line_message(line))
                response.lines[-1].taxes.extend(_tax_messages(line, rates))
            quote.line_indexes.append(index)
        quote.charge_rules_index = rules.setdefault(charge_rules, len(rules))
    response.charge_rules.extend(map(charge_rules_message, rules))
    response.applied_tax_rates.extend(_applied_message(*rate) for rate in rates)
    return response


# The same for every customer who buys as many at the same price; who puts it into a message copies it.
@lru_cache(maxsize=_CACHED_LINES)
def _line_message(line: Line) -> catalog_pb2.QuoteLine:
    """A line without what its taxes are made of."""
    key, currency = line.item.key, line.currency
    return catalog_pb2.QuoteLine(
        product=PRODUCT.format(*key),
        title=line.title,
        quantity=line.item.quantity,
        amount=to_money(line.amount_minor, currency),
        unit_price=to_money(line.unit_price_minor, currency),
        price=PRICE.format(*key, line.price),
        list_amount=to_money(line.list_amount_minor, currency),
        list_unit_price=to_money(line.list_unit_price_minor, currency),
        list_price=PRICE.format(*key, line.list_price),
        adjustments=[
            _adjustment_message(key, adjustment, currency) for adjustment in line.adjustments
        ],
        net_amount=to_money(line.net_minor, currency),
        tax_amount=to_money(line.gross_minor - line.net_minor, currency),
        gross_amount=to_money(line.gross_minor, currency),
        capacity_by_day=line.capacity_by_day,
    )


def _tax_messages(
    line: Line, rates: dict[tuple[MerchantId, AppliedRate], int]
) -> list[catalog_pb2.LineTax]:
    """The taxes of a line; rates that are new are added to those that are known."""
    merchant = line.item.key.merchant
    return [
        catalog_pb2.LineTax(
            applied_tax_rate_index=rates.setdefault((merchant, tax.rate), len(rates)),
            amount=to_money(tax.amount_minor, line.currency),
        )
        for tax in (line.taxed.taxes if line.taxed else ())
    ]


def _applied_message(merchant: MerchantId, rate: AppliedRate) -> catalog_pb2.AppliedTaxRate:
    return catalog_pb2.AppliedTaxRate(
        # A tax service's rates are none of the merchant's.
        tax_rate=TAX_RATE.format(merchant, rate.tax_rate) if rate.tax_rate else "",
        title=rate.title,
        rate_ppm=rate.rate_ppm,
        compound=rate.compound,
        treatment=catalog_pb2.TaxRate.TaxIdTreatment.Value(rate.treatment),
    )


def _adjustment_message(
    key: ProductKey, adjustment: Adjustment, currency: str
) -> catalog_pb2.PriceAdjustment:
    rule = ""
    if adjustment.kind is AdjustmentKind.INCREASE_NOT_YET_NOTIFIED:
        rule = RULE_PACK.format(*adjustment.rule) if adjustment.rule else PRODUCT.format(*key)
    message = catalog_pb2.PriceAdjustment(
        rule=rule,
        kind=catalog_pb2.PriceAdjustment.Kind.Value(adjustment.kind),
        amount=to_money(adjustment.amount_minor, currency),
    )
    if adjustment.price:
        message.price = PRICE.format(*key, adjustment.price)
    if adjustment.beaten_price:
        message.beaten_price = PRICE.format(*key, adjustment.beaten_price)
    if adjustment.offer:
        message.offer = OFFER.format(key.merchant, adjustment.offer)
    if adjustment.promotion:
        message.promotion = PROMOTION.format(key.merchant, adjustment.promotion)
        message.promotion_title = adjustment.promotion_title
    return message


def price_change_response(
    results: Sequence[ChangedAmount | Sequence[Fault]],
) -> catalog_pb2.BatchQuotePriceChangesResponse:
    """What price versions change, or why that cannot be said."""
    response = catalog_pb2.BatchQuotePriceChangesResponse()
    for result in results:
        if isinstance(result, ChangedAmount):
            response.results.add().quote.CopyFrom(_changed_message(result))
        else:
            response.results.add().problems.problems.extend(problem_messages(result))
    return response


def _changed_message(changed: ChangedAmount) -> catalog_pb2.PriceChangeQuote:
    message = catalog_pb2.PriceChangeQuote(
        amount=to_money(changed.amount_minor, changed.currency),
        previous_amount=to_money(changed.previous_minor, changed.currency),
        held_through_cycle=changed.held.through_cycle,
        held_until_time=optional_timestamp(changed.held.until_time),
        notice_min_days=changed.notice.min_days,
        notice_max_days=changed.notice.max_days,
    )
    if changed.held.by is not None:
        message.held_by = catalog_pb2.PriceAdjustment.Kind.Value(changed.held.by)
    return message
