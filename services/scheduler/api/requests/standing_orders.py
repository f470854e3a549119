"""From a caller's messages to the domain, noting everything that is wrong with them."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.protobuf import duration_pb2
from google.protobuf.json_format import MessageToDict
from google.type.postal_address_pb2 import PostalAddress
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.auth import call_context
from services.runtime.crypto.encryption import Keyring
from services.runtime.errors import Violations
from services.runtime.money import DIGITS
from services.runtime.rpc.conversions import put_time, read_timestamp
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.scheduler import names
from services.scheduler.api.requests.conditions import read_conditions
from services.scheduler.api.requests.schedules import read_schedule
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId
from services.scheduler.domain.order import Item
from services.scheduler.domain.purchases import RepurchaseAction, RepurchaseRule
from services.scheduler.domain.schedule import Schedule
from services.scheduler.domain.standing_order import (
    CATCH_UP_WINDOW_DEFAULT,
    NOTICE_LEAD_DEFAULT,
    PAYMENT_WINDOW_DEFAULT,
    CatchUp,
    CatchUpMode,
    StandingOrder,
)
from services.scheduler.domain.terms import BillingMode
from services.scheduler.store import addresses

SHIP_TO_MAX_BYTES = 2000
COUNTRY_PATTERN = re.compile("[A-Z]{2}")
AREA_PATTERN = re.compile("[A-Z0-9]{1,3}")
# Standing orders whose expressions are checked.
CHECKS_AT_ONCE_MAX = 2
CHECKS_OF_MERCHANT_MAX = 1

R = TypeVar("R")
Shipped = pb.StandingOrder | pb.CycleChange

_REPURCHASE_ACTIONS = {
    pb.Otherwise.SKIP: RepurchaseAction.SKIP,
    pb.Otherwise.HOLD_AND_ASK: RepurchaseAction.HOLD_AND_ASK,
}


async def read_aside(
    message: pb.StandingOrder, checking: ConcurrencyLimiter, read: Callable[[], R]
) -> R:
    """Read what a caller sent. Expressions take some milliseconds: others are served meanwhile."""
    if not any(condition.expression for condition in message.conditions):
        return read()
    async with checking.of(call_context.tenant()):
        return await asyncio.to_thread(read)


def read_standing_order(
    merchant: MerchantId,
    standing_order_id: StandingOrderId,
    message: pb.StandingOrder,
    now: datetime,
    keyring: Keyring,
    violations: Violations,
    known: Schedule | None = None,
    *,
    began_elsewhere: bool = False,
) -> StandingOrder | None:
    """A standing order, its address encrypted; None, with violations, if the message describes none.

    Its schedule starts today or later, or as `known` does, which runs already; at any time if it began
    in another system. When its next cycle is due is left to the caller.
    """
    field = "standing_order"
    customer = _read_customer(violations, f"{field}.customer", merchant, message.customer)
    violations.require(f"{field}.title", "must be given", met=bool(message.title))
    items = read_items(violations, f"{field}.items", merchant, message.items)
    today_at = None if began_elsewhere else now
    schedule = read_schedule(violations, f"{field}.schedule", message.schedule, today_at, known)
    if message.currency and message.currency not in DIGITS:
        violations.add(f"{field}.currency", "must be a current currency of ISO 4217")
    mode = _read_mode(violations, field, merchant, customer, message)
    protection = _read_price_protection(violations, f"{field}.price_protection", merchant, message)
    address = read_ship_to(violations, f"{field}.ship_to", message)
    lead = _read_duration(violations, f"{field}.notice_lead", message, NOTICE_LEAD_DEFAULT)
    window = _read_duration(violations, f"{field}.payment_window", message, PAYMENT_WINDOW_DEFAULT)
    catch_up = _read_catch_up(violations, f"{field}.catch_up", message)
    conditions = read_conditions(
        violations, f"{field}.conditions", merchant, items, message.conditions
    )
    repurchase = _read_repurchase(violations, field, message)
    if mode is None or schedule is None:
        return None
    return StandingOrder(
        merchant=merchant,
        standing_order=standing_order_id,
        customer=customer,
        title=message.title,
        items=items,
        schedule=schedule,
        billing_mode=mode,
        mandate=message.mandate,
        ship_to=addresses.encrypt(keyring, merchant, customer, address),
        region_code=region_of(address),
        tax_id=message.tax_id,
        price_protection=protection,
        currency=message.currency,
        promotion_code=message.promotion_code,
        notice_lead=lead,
        payment_window=window,
        catch_up=catch_up,
        conditions=conditions,
        repurchase=repurchase,
        slot_days_before=message.slot_days_before,
        slot_days_after=message.slot_days_after,
        create_time=now,
        update_time=now,
    )


def _read_customer(
    violations: Violations, field: str, merchant: MerchantId, name: str
) -> CustomerId:
    owner, customer = names.CUSTOMER.read(violations, field, name)
    if customer and owner != merchant:
        violations.add(field, "must be a customer of the parent merchant")
    return CustomerId(customer)


def read_items(
    violations: Violations,
    field: str,
    merchant: MerchantId,
    messages: Sequence[pb.Item],
    *,
    of_cycle: bool = False,
) -> tuple[Item, ...]:
    """The items of a standing order or of one cycle: at least one, each product once."""
    violations.require(field, "must have an item", met=bool(messages))
    items: list[Item] = []
    for place, item in enumerate(messages):
        owner, product = names.PRODUCT.parse(item.product)
        if owner != merchant:
            violations.add(f"{field}[{place}].product", "must be a product of the parent merchant")
        if any(known.product == product for known in items):
            violations.add(f"{field}[{place}].product", "must not repeat a product")
        path = f"{field}[{place}].substitutes"
        if of_cycle:
            rule = "must be empty: substitutes are agreed for the standing order"
            violations.require(path, rule, met=not item.substitutes)
        substitutes = _read_substitutes(violations, path, merchant, item)
        items.append(Item(product, item.quantity, substitutes))
    return tuple(items)


def _read_substitutes(
    violations: Violations, field: str, merchant: MerchantId, item: pb.Item
) -> tuple[str, ...]:
    products = []
    for place, name in enumerate(item.substitutes):
        owner, product = names.PRODUCT.parse(name)
        if owner != merchant:
            violations.add(f"{field}[{place}]", "must be a product of the parent merchant")
        if name == item.product:
            violations.add(f"{field}[{place}]", "must be another product")
        products.append(product)
    return tuple(products)


def _read_mode(
    violations: Violations,
    field: str,
    merchant: MerchantId,
    customer: CustomerId,
    message: pb.StandingOrder,
) -> BillingMode | None:
    if message.billing_mode == pb.AUTOMATIC:
        owner, payer, mandate = names.MANDATE.read(violations, f"{field}.mandate", message.mandate)
        if mandate and (owner, payer) != (merchant, customer):
            violations.add(f"{field}.mandate", "must be a mandate of the same customer")
        return BillingMode.AUTOMATIC
    if message.billing_mode == pb.PAY_ON_NOTICE:
        violations.require(
            f"{field}.mandate", "must be empty for PAY_ON_NOTICE", met=not message.mandate
        )
        return BillingMode.PAY_ON_NOTICE
    violations.add(f"{field}.billing_mode", "must be AUTOMATIC or PAY_ON_NOTICE")
    return None


def read_ship_to(violations: Violations, field: str, message: Shipped) -> PostalAddress:
    """An address; an empty one is none."""
    violations.require(
        field,
        f"must have at most {SHIP_TO_MAX_BYTES} bytes",
        met=message.ship_to.ByteSize() <= SHIP_TO_MAX_BYTES,
    )
    return message.ship_to


def region_of(address: PostalAddress) -> str:
    """The country of an address (ISO 3166-1), or its part (ISO 3166-2) where the area is its code."""
    country = address.region_code.strip().upper()
    if not COUNTRY_PATTERN.fullmatch(country):
        return ""
    area = address.administrative_area.strip().upper().removeprefix(f"{country}-")
    return f"{country}-{area}" if AREA_PATTERN.fullmatch(area) else country


def _read_catch_up(violations: Violations, field: str, message: pb.StandingOrder) -> CatchUp:
    if not message.HasField("catch_up"):
        return CatchUp()
    mode = CatchUpMode(pb.CatchUp.Mode.Name(message.catch_up.mode))
    window = _read_duration(
        violations, f"{field}.window", message.catch_up, CATCH_UP_WINDOW_DEFAULT
    )
    return CatchUp(mode, window)


def _read_repurchase(
    violations: Violations, field: str, message: pb.StandingOrder
) -> RepurchaseRule | None:
    action = _REPURCHASE_ACTIONS[message.repurchase_action or pb.Otherwise.SKIP]
    window = _read_duration(violations, f"{field}.repurchase_window", message, timedelta())
    return RepurchaseRule(window, action) if window else None


def _read_duration(
    violations: Violations,
    field: str,
    message: pb.StandingOrder | pb.CatchUp,
    default: timedelta,
) -> timedelta:
    name = field.rpartition(".")[2]
    if not message.HasField(name):  # type: ignore[arg-type]
        return default
    given: duration_pb2.Duration = getattr(message, name)
    violations.require(field, "must be whole seconds", met=not given.nanos)
    return timedelta(seconds=given.seconds)


def _read_price_protection(
    violations: Violations, field: str, merchant: MerchantId, message: pb.StandingOrder
) -> Mapping[str, Any] | None:
    if message.price_protection.WhichOneof("kind") is None:
        return None
    if message.price_protection.HasField("offer"):
        owner, _ = names.OFFER.parse(message.price_protection.offer)
        met = owner == merchant
        violations.require(f"{field}.offer", "must be an offer of the parent merchant", met=met)
    kept = pb.PriceProtection()
    kept.CopyFrom(message.price_protection)
    if kept.lock.HasField("until_time"):
        stamp = kept.lock.until_time
        # What is no time cannot be kept.
        put_time(stamp, read_timestamp(violations, f"{field}.lock.until_time", stamp))
    return MessageToDict(kept, preserving_proto_field_name=True)
