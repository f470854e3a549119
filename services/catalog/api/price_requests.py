"""From requests about prices to the domain, noting everything that is wrong with them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from google.protobuf import field_mask_pb2
from recurring.catalog.v1 import catalog_pb2

from services.catalog.api.requests import read_cart, read_effective_time, read_time
from services.catalog.api.responses import price_message
from services.catalog.domain.price_changes import DRAFT, PriceChange
from services.catalog.domain.prices import AmountSteps, Price, Tier, TierMode
from services.catalog.domain.products import PriceId, PriceKey
from services.catalog.names import MERCHANT, PRICE, PRODUCT
from services.runtime.errors import Violations
from services.runtime.money import DIGITS, Money, format_minor
from services.runtime.rpc.conversions import read_money, read_timestamp
from services.runtime.rpc.names import read_name

# Never used: what is absent is a violation.
NO_MONEY = Money(0, "")
CORRECTABLE_FIELDS = (
    "unit_price",
    "tiers",
    "tier_mode",
    "subscriber_discount_bps",
    "effective_time",
)


def read_new_price(
    request: catalog_pb2.CreatePriceRequest, now: datetime, steps: AmountSteps
) -> Price:
    """The price to add."""
    violations = Violations()
    key = PriceKey(*read_name(PRODUCT, request.parent), PriceId(request.price_id))
    price = read_price(violations, "price", key, request.price, now, steps)
    violations.check()
    return price


def read_new_prices(
    request: catalog_pb2.BatchCreatePricesRequest, now: datetime, steps: AmountSteps
) -> list[Price]:
    """The prices to add."""
    violations = Violations()
    merchant = read_name(MERCHANT, request.parent)
    prices: list[Price] = []
    for index, entry in enumerate(request.entries):
        product = PRODUCT.key(entry.parent)
        if product.merchant != merchant:
            violations.add(f"entries[{index}].parent", "must be a product of the same merchant")
        key = PriceKey(*product, PriceId(entry.price_id))
        field = f"entries[{index}].price"
        prices.append(read_price(violations, field, key, entry.price, now, steps))
    violations.check()
    return prices


def read_moment(request: catalog_pb2.GetPriceRequest, now: datetime) -> datetime:
    """The instant whose price is wanted."""
    violations = Violations()
    moment = read_timestamp(violations, "time", request.time) if request.HasField("time") else now
    violations.check()
    return moment


def read_price_name(request: catalog_pb2.UpdatePriceRequest) -> PriceKey:
    """Which price is to be corrected."""
    violations = Violations()
    violations.require("price.name", "must be given", met=bool(request.price.name))
    violations.check()
    return read_name(PRICE, request.price.name)


def read_correction(
    request: catalog_pb2.UpdatePriceRequest, now: datetime, steps: AmountSteps
) -> Callable[[Price], Price]:
    """What a correction makes of a price that has not taken effect."""
    paths: Sequence[str] = request.update_mask.paths
    violations = Violations()
    violations.require("update_mask", "must name at least one field", met=bool(paths))
    if not set(paths) <= set(CORRECTABLE_FIELDS):
        violations.add("update_mask", f"must name only {', '.join(CORRECTABLE_FIELDS)}")
    violations.check()

    def merge(present: Price) -> Price:
        merged = price_message(present)
        mask = field_mask_pb2.FieldMask(paths=paths)
        mask.MergeMessage(
            request.price, merged, replace_message_field=True, replace_repeated_field=True
        )
        # Another currency is refused anyway.
        is_own = merged.unit_price.currency_code == present.currency
        own_steps = steps if is_own else None
        price = read_price(violations, "price", present.key, merged, now, own_steps)
        if price.currency != present.currency:
            rule = f"must be {present.currency}: another currency is another price"
            violations.add("price.unit_price.currency_code", rule, "CURRENCY_MISMATCH")
        violations.check()
        return replace(price, version=present.version)

    return merge


def read_price_change(
    now: datetime, violations: Violations, field: str, entry: catalog_pb2.PriceChangeCart
) -> PriceChange:
    """A cart, and the price version whose effect on it is asked for."""
    cart = read_cart(violations, f"{field}.cart", entry.cart)
    notice_time = read_time(violations, field, entry, "notice_time")
    if entry.WhichOneof("version") == "price":
        key, named = PRICE.key(entry.price), f"{field}.price"
        draft = None
    else:
        key = PriceKey(*PRODUCT.key(entry.draft.product), DRAFT)
        named = f"{field}.draft.product"
        draft = read_price(violations, f"{field}.draft.price", key, entry.draft.price, now)
    if key.product_key not in {item.key for item in cart.items}:
        violations.add(named, "must be of a product of the cart")
    return PriceChange(cart, key, notice_time, draft)


def read_price(
    violations: Violations,
    field: str,
    key: PriceKey,
    message: catalog_pb2.Price,
    now: datetime,
    steps: AmountSteps | None = None,
    *,
    may_be_past: bool = False,
) -> Price:
    """A price that is announced now, of amounts that can be charged unless there are no `steps`."""
    amount = NO_MONEY
    if violations.require(
        f"{field}.unit_price", "must be given", met=message.HasField("unit_price")
    ):
        amount = read_money(violations, f"{field}.unit_price", message.unit_price)
        _require_chargeable(violations, f"{field}.unit_price", amount, steps)
    effective_time = read_effective_time(
        violations, f"{field}.effective_time", message, now, may_be_past=may_be_past
    )
    return Price(
        *key,
        amount.amount_minor,
        amount.currency,
        effective_time,
        now,
        tier_mode=_tier_mode(message),
        tiers=_read_tiers(violations, field, message, amount, steps),
        subscriber_discount_bps=message.subscriber_discount_bps,
    )


def _tier_mode(price: catalog_pb2.Price) -> TierMode | None:
    if not price.tiers or not price.tier_mode:
        return None
    return TierMode(catalog_pb2.Price.TierMode.Name(price.tier_mode))


def _require_chargeable(
    violations: Violations, field: str, amount: Money, steps: AmountSteps | None
) -> None:
    """A unit price is what can be charged, but for the least charge: ten units are one charge, too."""
    if steps is None or amount.currency not in DIGITS or amount.amount_minor <= 0:
        return
    step_minor = steps.get(amount.currency)
    if step_minor is None:
        rule = "must be a currency in which the payment provider charges"
        violations.add(f"{field}.currency_code", rule, "CURRENCY_NOT_CHARGEABLE")
    elif amount.amount_minor % step_minor:
        step = format_minor(step_minor, amount.currency)
        rule = f"must be a multiple of {step}, which the payment provider counts in"
        violations.add(field, rule, "AMOUNT_NOT_CHARGEABLE")


def _read_tiers(
    violations: Violations,
    field: str,
    price: catalog_pb2.Price,
    first: Money,
    steps: AmountSteps | None,
) -> tuple[Tier, ...]:
    """The tiers of a price, in order and without a gap; none is dearer than the one before."""
    violations.require(
        f"{field}.tier_mode",
        "must be VOLUME or GRADUATED with tiers, and absent without",
        met=bool(price.tiers) == bool(price.tier_mode),
    )
    tiers: list[Tier] = []
    before = Tier(1, first.amount_minor)
    for index, message in enumerate(price.tiers):
        place = f"{field}.tiers[{index}]"
        amount = read_money(violations, f"{place}.unit_price", message.unit_price)
        tier = Tier(message.first_quantity, amount.amount_minor)
        following = price.tiers[index + 1] if index + 1 < len(price.tiers) else None
        if tier.first_quantity <= before.first_quantity:
            rule = f"must be above {before.first_quantity}, where the one before begins"
            violations.add(f"{place}.first_quantity", rule, "TIER_FALLS")
        _read_last_quantity(violations, f"{place}.last_quantity", message, following)
        if amount.currency != first.currency:
            rule = f"must be {first.currency}, as the price"
            violations.add(f"{place}.unit_price.currency_code", rule, "CURRENCY_MISMATCH")
        else:
            _require_chargeable(violations, f"{place}.unit_price", amount, steps)
        if amount.currency == first.currency and tier.unit_price_minor > before.unit_price_minor:
            rule = "must not be above that of the tier before"
            violations.add(f"{place}.unit_price", rule, "TIER_DEARER")
        tiers.append(tier)
        before = tier
    return tuple(tiers)


def _read_last_quantity(
    violations: Violations,
    field: str,
    tier: catalog_pb2.PriceTier,
    following: catalog_pb2.PriceTier | None,
) -> None:
    """Where a tier ends, if it says so: just before the next one; the last has no end."""
    last = tier.last_quantity
    if last and last < tier.first_quantity:
        violations.add(field, f"must not be below {tier.first_quantity}", "TIER_FALLS")
    elif last and following is None:
        violations.add(field, "must be absent in the last tier", "TIER_SKIPS")
    elif last and following is not None and last + 1 < following.first_quantity:
        rule = f"must be {following.first_quantity - 1}: the next tier begins after it"
        violations.add(field, rule, "TIER_SKIPS")
    elif last and following is not None and last + 1 > following.first_quantity:
        rule = f"must be below {following.first_quantity}, where the next tier begins"
        violations.add(field, rule, "TIER_FALLS")
