"""Promotions, from requests to the domain and from the domain to messages."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from recurring.catalog.v1 import catalog_pb2 as pb

from services.catalog.domain.pricing import Line
from services.catalog.domain.products import Fault, MerchantId, ProductId, StandingOrderKey
from services.catalog.domain.promotions import (
    Discount,
    EndingPromotion,
    Promotion,
    PromotionFault,
    PromotionId,
    SignUp,
)
from services.catalog.names import MERCHANT, PRODUCT, PROMOTION, STANDING_ORDER
from services.catalog.store.tax_rates import MerchantTerms
from services.runtime.errors import Violations
from services.runtime.money import Money
from services.runtime.rpc.conversions import (
    etag,
    from_timestamp,
    optional_timestamp,
    read_money,
    read_timestamp,
    to_money,
    to_timestamp,
)
from services.runtime.rpc.names import read_name


def read_new_promotion(request: pb.CreatePromotionRequest, now: datetime) -> Promotion:
    """The promotion to create."""
    violations = Violations()
    merchant = read_name(MERCHANT, request.parent)
    message = request.promotion
    amount = Money(0, "")
    if message.WhichOneof("discount") is None:
        rule = "must have percent_off_bps or amount_off"
        violations.add("promotion", rule, "DISCOUNT_MISSING")
    elif message.HasField("amount_off"):
        amount = read_money(violations, "promotion.amount_off", message.amount_off)
    products = [PRODUCT.key(name) for name in message.products]
    for index, product in enumerate(products):
        if product.merchant != merchant:
            field = f"promotion.products[{index}]"
            violations.add(field, "must be a product of the parent merchant")
    discount = Discount(
        promotion=PromotionId(request.promotion_id),
        title=message.title,
        percent_off_bps=message.percent_off_bps,
        amount_off_minor=amount.amount_minor,
        cycle_count=message.cycle_count,
        discount_until_time=_read_later(violations, message, "discount_until_time", now),
        products=tuple(dict.fromkeys(product.product for product in products)),
    )
    promotion = Promotion(
        merchant=merchant,
        discount=discount,
        currency=amount.currency,
        code=message.code,
        redemption_limit=message.redemption_limit,
        end_time=_read_later(violations, message, "end_time", now),
        create_time=now,
    )
    violations.check()
    return promotion


def _read_later(
    violations: Violations, message: pb.Promotion, name: str, now: datetime
) -> datetime | None:
    """A time to come; None if there is none."""
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    field = f"promotion.{name}"
    moment = read_timestamp(violations, field, getattr(message, name))
    violations.require(field, "must be later than now", met=moment > now)
    return moment


def read_sign_ups(
    entries: Sequence[pb.ProtectPrices],
    results: Sequence[Sequence[Line | Fault]],
    faulty: Collection[StandingOrderKey],
) -> list[SignUp]:
    """Of the entries that can be protected, those of new standing orders."""
    return [
        SignUp(
            STANDING_ORDER.key(entry.standing_order),
            entry.promotion_code,
            [ProductId(PRODUCT.key(name).product) for name in entry.products],
            lines[0].currency,
            entry.first_cycle,
            from_timestamp(entry.sign_up_time),
        )
        for entry, result in zip(entries, results, strict=True)
        if entry.first_cycle
        and STANDING_ORDER.key(entry.standing_order) not in faulty
        and len(lines := [line for line in result if isinstance(line, Line)]) == len(result)
    ]


def promotion_problem(
    entry: pb.ProtectPrices, faults: Mapping[StandingOrderKey, PromotionFault]
) -> pb.PromotionProblem.ValueType:
    """Why the promotion of an entry cannot be redeemed; unspecified if it was, or there is none."""
    fault = faults.get(STANDING_ORDER.key(entry.standing_order))
    return pb.PromotionProblem.Value(fault) if fault else pb.PROMOTION_PROBLEM_UNSPECIFIED


def ending_message(
    entry: pb.ProtectPrices,
    endings: Mapping[StandingOrderKey, EndingPromotion],
    terms: Mapping[MerchantId, MerchantTerms],
) -> pb.EndingPromotion | None:
    """The promotion that a new standing order has redeemed, if it ends."""
    ending = endings.get(STANDING_ORDER.key(entry.standing_order))
    if ending is None:
        return None
    day = from_timestamp(entry.sign_up_time).date()
    return pb.EndingPromotion(
        promotion=PROMOTION.format(ending.merchant, ending.promotion),
        title=ending.title,
        last_cycle=ending.last_cycle,
        until_time=optional_timestamp(ending.discount_until_time),
        notice_days=terms[ending.merchant].rules.offer_end_notice_days(day),
    )


def promotion_message(promotion: Promotion) -> pb.Promotion:
    """A promotion as callers see it."""
    discount = promotion.discount
    message = pb.Promotion(
        name=PROMOTION.format(*promotion.key),
        title=discount.title,
        cycle_count=discount.cycle_count,
        discount_until_time=optional_timestamp(discount.discount_until_time),
        code=promotion.code,
        products=[PRODUCT.format(promotion.merchant, product) for product in discount.products],
        redemption_limit=promotion.redemption_limit,
        end_time=optional_timestamp(promotion.end_time),
        redemption_count=promotion.redemption_count,
        state=pb.Promotion.State.Value(promotion.state),
        create_time=to_timestamp(promotion.create_time),
        etag=etag(promotion.version),
    )
    if discount.amount_off_minor:
        message.amount_off.CopyFrom(to_money(discount.amount_off_minor, promotion.currency))
    else:
        message.percent_off_bps = discount.percent_off_bps
    return message
