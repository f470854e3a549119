"""From requests to the domain, noting everything that is wrong with them.

A request that is read here keeps the rules of the contract already (runtime/rpc/validation.py). What
names a resource of another merchant is PERMISSION_DENIED.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypeVar

from google.protobuf import field_mask_pb2
from google.protobuf.message import Message
from google.type.postal_address_pb2 import PostalAddress
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.auth.call_context import caller
from services.runtime.crypto.encryption import Keyring
from services.runtime.db.idempotency import derived_id
from services.runtime.errors import Violations
from services.runtime.resource_names import NamePattern
from services.runtime.rpc.conversions import read_bound, read_timestamp
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.runtime.rpc.names import read_name
from services.scheduler import names
from services.scheduler.api.requests.schedules import read_calendar_date
from services.scheduler.api.requests.standing_orders import (
    read_aside,
    read_items,
    read_ship_to,
    read_standing_order,
    region_of,
)
from services.scheduler.api.responses import standing_order_message
from services.scheduler.application.forecasts import Span
from services.scheduler.application.standing_orders import Update
from services.scheduler.clients.questions import PriceVersion, Version
from services.scheduler.domain.ids import (
    CustomerId,
    MerchantId,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import Item
from services.scheduler.domain.schedule import LAST_DATE
from services.scheduler.domain.settings import SchedulerSettings, UnpaidPolicy
from services.scheduler.domain.standing_order import (
    CycleChange,
    StandingOrder,
    at_cycle,
)
from services.scheduler.domain.validation import Reason
from services.scheduler.store import addresses
from services.scheduler.store.orders import OrderFilter
from services.scheduler.store.price_protections import ProtectionFilter

T = TypeVar("T")

FORECAST_DEFAULT_DAYS = 30
FORECAST_MAX_DAYS = 366
CHANGEABLE_FIELDS = (
    "title", "items", "schedule", "billing_mode", "mandate", "ship_to", "tax_id", "notice_lead",
    "payment_window", "catch_up", "conditions", "repurchase_window", "repurchase_action",
    "price_protection",
    "slot_days_before", "slot_days_after",
)  # fmt: skip

DUE_FILTERS: tuple[Literal["due_from_time"], Literal["due_before_time"]] = (
    "due_from_time",
    "due_before_time",
)
ORDERS_PARENT = NamePattern(
    "merchants/{merchant}/standingOrders/{standing_order}", wildcard="standing_order"
)


# --- names -----------------------------------------------------------------------------------------


def read_customer_filter(
    violations: Violations, merchant: MerchantId, name: str
) -> CustomerId | None:
    """The customer of whom a list is to be; None: of all."""
    if not name:
        return None
    owner, customer = names.CUSTOMER.key(name)
    violations.require(
        "customer", "must be a customer of the parent merchant", met=owner == merchant
    )
    return customer


# --- standing orders -------------------------------------------------------------------------------


async def read_new(
    request: pb.CreateStandingOrderRequest,
    checking: ConcurrencyLimiter,
    keyring: Keyring,
    now: datetime,
) -> StandingOrder:
    """The standing order that is to be created."""

    def read() -> StandingOrder:
        violations = Violations()
        merchant = read_name(names.MERCHANT, request.parent)
        chosen = request.standing_order_id or str(derived_id(merchant, request.request_id))
        key = StandingOrderKey(merchant, StandingOrderId(chosen))
        standing_order = read_standing_order(*key, request.standing_order, now, keyring, violations)
        return at_cycle(_sound(standing_order, violations), 1)

    return await read_aside(request.standing_order, checking, read)


def read_update(
    message: pb.StandingOrder,
    mask: field_mask_pb2.FieldMask,
    checking: ConcurrencyLimiter,
    keyring: Keyring,
    now: datetime,
) -> Update:
    """Which fields of which standing order are to be changed, and what that makes of it."""
    violations = Violations()
    violations.require("update_mask", "must name at least one field", met=bool(mask.paths))
    if not set(mask.paths) <= set(CHANGEABLE_FIELDS):
        violations.add("update_mask", f"must name only {', '.join(CHANGEABLE_FIELDS)}")
    violations.require("standing_order.name", "must be given", met=bool(message.name))
    violations.check()
    key = read_name(names.STANDING_ORDER, message.name)

    async def merge(present: StandingOrder) -> StandingOrder:
        merged = standing_order_message(present, keyring)
        address = PostalAddress()
        address.CopyFrom(merged.ship_to)
        merged.schedule.ClearField("rrule")
        mask.MergeMessage(message, merged, replace_message_field=True, replace_repeated_field=True)

        def read() -> StandingOrder | None:
            wanted = read_standing_order(*key, merged, now, keyring, violations, present.plan)
            # The same address re-encrypted would look like another one.
            if wanted is not None and merged.ship_to == address:
                return replace(wanted, ship_to=present.ship_to)
            return wanted

        return _sound(await read_aside(merged, checking, read), violations)

    return Update(key, message.etag, frozenset(mask.paths), merge)


def _sound(standing_order: StandingOrder | None, violations: Violations) -> StandingOrder:
    """A standing order that was read without a violation."""
    violations.check()
    if standing_order is None:
        msg = "a message without violations gave no standing order"
        raise RuntimeError(msg)
    return standing_order


def read_standing_orders_query(
    request: pb.ListStandingOrdersRequest,
) -> tuple[MerchantId, CustomerId | None, str | None, str | None]:
    """Whose standing orders, in which state and with which product, are to be listed; None: all."""
    violations = Violations()
    merchant = read_name(names.MERCHANT, request.parent)
    customer = read_customer_filter(violations, merchant, request.customer)
    product = None
    if request.product:
        owner, product = names.PRODUCT.parse(request.product)
        violations.require(
            "product", "must be a product of the parent merchant", met=owner == merchant
        )
    violations.check()
    state = pb.StandingOrder.State.Name(request.state) if request.state else None
    return merchant, customer, state, product


def read_protection_filter(request: pb.ListPriceProtectionsRequest) -> ProtectionFilter:
    """Which protections are to be listed."""
    violations = Violations()
    merchant = read_name(names.MERCHANT, request.parent)
    standing_order = product = end_before_time = None
    if request.standing_order:
        owner, standing_order = names.STANDING_ORDER.key(request.standing_order)
        rule = "must be a standing order of the parent merchant"
        violations.require("standing_order", rule, met=owner == merchant)
    if request.product:
        owner_name, product = names.PRODUCT.parse(request.product)
        rule = "must be a product of the parent merchant"
        violations.require("product", rule, met=owner_name == merchant)
    if request.HasField("end_before_time"):
        end_before_time = read_bound(violations, "end_before_time", request.end_before_time)
    customer = read_customer_filter(violations, merchant, request.customer)
    violations.check()
    return ProtectionFilter(merchant, customer, standing_order, product, end_before_time)


def read_optional(
    request: Message, field: str, read: Callable[[Violations, str, Any], T]
) -> T | None:
    """A field of a message's type, read by itself; None if it is not given."""
    if not request.HasField(field):
        return None
    violations = Violations()
    value = read(violations, field, getattr(request, field))
    violations.check()
    return value


# --- cycles ----------------------------------------------------------------------------------------


def read_changed_items(merchant: MerchantId, change: pb.CycleChange) -> tuple[Item, ...]:
    """The items that one cycle is to have; none if they stay."""
    violations = Violations()
    items: tuple[Item, ...] = ()
    if change.items:
        items = read_items(violations, "change.items", merchant, change.items, of_cycle=True)
    violations.check()
    return items


def read_change(
    message: pb.CycleChange, keyring: Keyring, standing_order: StandingOrder
) -> CycleChange:
    """The cycle's change with what the message adds to it."""
    violations = Violations()
    change = standing_order.change(message.cycle)
    if message.HasField("local_date"):
        day = read_calendar_date(violations, "change.local_date", message.local_date)
        change = replace(change, local_date=day)
    if message.items:
        items = read_items(
            violations, "change.items", standing_order.merchant, message.items, of_cycle=True
        )
        change = replace(change, items=items)
    address = read_ship_to(violations, "change.ship_to", message)
    customer = standing_order.merchant, standing_order.customer
    given = address.ByteSize() > 0
    # The same address re-encrypted would look like another one.
    if given and address != addresses.decrypt(keyring, *customer, change.ship_to):
        encrypted = addresses.encrypt(keyring, *customer, address)
        change = replace(change, ship_to=encrypted, region_code=region_of(address))
    named = message.HasField("local_date") or message.items or given
    violations.require("change", "must change something", met=bool(named))
    violations.check()
    return change


# --- orders ----------------------------------------------------------------------------------------


def read_order_filter(request: pb.ListOrdersRequest) -> OrderFilter:
    """Which orders are to be listed."""
    violations = Violations()
    parent, standing_order = ORDERS_PARENT.parse(request.parent)
    merchant = MerchantId(parent)
    caller().check(merchant)
    customer = read_customer_filter(violations, merchant, request.customer)
    due_from, due_before = (
        read_bound(violations, name, getattr(request, name)) if request.HasField(name) else None
        for name in DUE_FILTERS
    )
    violations.check()
    return OrderFilter(
        merchant,
        None if standing_order == "-" else StandingOrderId(standing_order),
        customer,
        [pb.Order.State.Name(request.state)] if request.state else None,
        due_from,
        due_before,
    )


# --- demand ----------------------------------------------------------------------------------------


def read_span(request: pb.ForecastDemandRequest, now: datetime) -> Span:
    """Whose demand is to be forecast, from which date to which."""
    violations = Violations()
    merchant = read_name(names.MERCHANT, request.parent)
    first = today = now.astimezone(UTC).date()
    if request.HasField("start_date"):
        first = read_calendar_date(violations, "start_date", request.start_date)
        violations.check()
        if first < today:
            violations.add("start_date", "must not be past", Reason.OUT_OF_RANGE)
    last = _read_last_date(violations, request, first, "start_date")
    violations.check()
    return Span(merchant, first, last)


def read_coverage_span(request: pb.GetStockCoverageRequest, now: datetime) -> Span:
    """Whose stock is to serve which cycles: those from today on."""
    violations = Violations()
    merchant = read_name(names.MERCHANT, request.parent)
    today = now.astimezone(UTC).date()
    last = _read_last_date(violations, request, today, "today")
    violations.check()
    return Span(merchant, today, last)


def read_price_version(request: pb.PreviewPriceChangeRequest) -> Version:
    """The version whose effect is wanted."""
    if request.WhichOneof("version") == "price":
        read_name(names.PRICE, request.price)
        return request.price
    caller().check(names.PRODUCT.parse(request.draft.product)[0])
    return request.draft


def read_price_change_span(
    request: pb.PreviewPriceChangeRequest, version: PriceVersion, now: datetime
) -> Span:
    """Over which dates what a price version changes is summed up."""
    violations = Violations()
    today = now.astimezone(UTC).date()
    first = min(max(today, version.effective_time.astimezone(UTC).date()), LAST_DATE)
    if request.HasField("start_date"):
        first = read_calendar_date(violations, "start_date", request.start_date)
        violations.check()
        if first < today:
            violations.add("start_date", "must not be past", Reason.OUT_OF_RANGE)
    last = _read_last_date(violations, request, first, "start_date")
    violations.check()
    return Span(version.merchant, first, last)


def _read_last_date(
    violations: Violations,
    request: pb.ForecastDemandRequest | pb.GetStockCoverageRequest | pb.PreviewPriceChangeRequest,
    first: date,
    what: str,
) -> date:
    if not request.HasField("end_date"):
        return min(first + timedelta(days=FORECAST_DEFAULT_DAYS), LAST_DATE)
    last = read_calendar_date(violations, "end_date", request.end_date)
    if not 0 <= (last - first).days <= FORECAST_MAX_DAYS:
        rule = f"must be 0 to {FORECAST_MAX_DAYS} days after {what}"
        violations.add("end_date", rule, Reason.OUT_OF_RANGE)
    return last


# --- purchases -------------------------------------------------------------------------------------


def read_purchase(
    request: pb.RecordPurchaseRequest, now: datetime
) -> tuple[MerchantId, CustomerId, list[str], datetime]:
    """Who bought which products, and when."""
    merchant, customer = read_name(names.CUSTOMER, request.customer)
    violations = Violations()
    products = []
    for place, name in enumerate(request.products):
        owner, product = names.PRODUCT.parse(name)
        if owner != merchant:
            violations.add(f"products[{place}]", "must be a product of the customer's merchant")
        products.append(product)
    purchase_time = now
    if request.HasField("purchase_time"):
        purchase_time = read_timestamp(violations, "purchase_time", request.purchase_time)
        violations.require("purchase_time", "must not be in the future", met=purchase_time <= now)
    violations.check()
    return merchant, customer, products, purchase_time


# --- settings --------------------------------------------------------------------------------------


def read_settings(message: pb.SchedulerSettings) -> SchedulerSettings:
    """What a merchant's settings are to be."""
    violations = Violations()
    violations.require(
        "scheduler_settings.unpaid_policy",
        "must be GO_ON, WAIT, PAUSE or CANCEL",
        met=message.unpaid_policy != 0,
    )
    violations.check()
    policy = pb.SchedulerSettings.UnpaidPolicy.Name(message.unpaid_policy)
    merchant = read_name(names.SETTINGS, message.name)
    return SchedulerSettings(
        merchant, UnpaidPolicy(policy), message.late_payment_days, message.action_page_uri
    )
