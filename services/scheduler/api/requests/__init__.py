"""From requests to the domain, noting everything that is wrong with them.

What names a resource of another merchant is PERMISSION_DENIED.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from google.protobuf import field_mask_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.auth.call_context import caller
from services.runtime.crypto.encryption import Keyring
from services.runtime.db.idempotency import derived_id
from services.runtime.errors import Violations
from services.runtime.resource_names import NamePattern, read_id
from services.runtime.rpc.conversions import read_bound, read_timestamp
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.scheduler import names
from services.scheduler.api.requests.schedules import read_calendar_date
from services.scheduler.api.requests.standing_orders import (
    read_aside,
    read_items,
    read_ship_to,
    read_standing_order,
)
from services.scheduler.api.responses import standing_order_message
from services.scheduler.application.forecasts import Span
from services.scheduler.application.previews import PREVIEW_DEFAULT_CYCLES
from services.scheduler.application.standing_orders import Update
from services.scheduler.domain.ids import (
    CustomerId,
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import Item
from services.scheduler.domain.schedule import LAST_DATE
from services.scheduler.domain.settings import UnpaidPolicy
from services.scheduler.domain.standing_order import (
    CHANGE_AHEAD_MAX_CYCLES,
    CycleChange,
    StandingOrder,
    at_cycle,
)
from services.scheduler.store import addresses
from services.scheduler.store.orders import OrderFilter

PREVIEW_MAX_CYCLES = 100
FORECAST_DEFAULT_DAYS = 30
FORECAST_MAX_DAYS = 366
CHANGEABLE_FIELDS = (
    "title", "items", "schedule", "billing_mode", "mandate", "ship_to", "notice_lead",
    "payment_window", "catch_up", "conditions", "repurchase_window", "repurchase_action",
)  # fmt: skip

DUE_FILTERS: tuple[Literal["due_from_time"], Literal["due_before_time"]] = (
    "due_from_time",
    "due_before_time",
)
ORDERS_PARENT = NamePattern(
    "merchants/{merchant}/standingOrders/{standing_order}", wildcard="standing_order"
)
_CYCLE_MAX = 2**31 - 1


# --- names -----------------------------------------------------------------------------------------


def read_name(name: str, field: str = "name") -> StandingOrderKey:
    """The key of a standing order that the caller may see."""
    violations = Violations()
    merchant, standing_order = names.STANDING_ORDER.read(violations, field, name)
    violations.check()
    caller().check(merchant)
    return StandingOrderKey(MerchantId(merchant), StandingOrderId(standing_order))


def read_order_name(name: str) -> OrderKey:
    """The key of an order that the caller may see."""
    violations = Violations()
    merchant, standing_order, cycle = names.ORDER.read(violations, "name", name)
    if cycle and not cycle.isdecimal():
        violations.add("name", "must end in the number of a cycle")
    violations.check()
    caller().check(merchant)
    return OrderKey(
        MerchantId(merchant), StandingOrderId(standing_order), min(int(cycle), _CYCLE_MAX)
    )


def read_customer_name(name: str) -> tuple[MerchantId, CustomerId]:
    """A customer of whom the caller may know."""
    merchant, customer = names.parse_customer(name)
    caller().check(merchant)
    return merchant, customer


def read_customer_filter(
    violations: Violations, merchant: MerchantId, name: str
) -> CustomerId | None:
    """The customer of whom a list is to be; None: of all."""
    if not name:
        return None
    owner, customer = names.read_customer(violations, "customer", name)
    if customer and owner != merchant:
        violations.add("customer", "must be a customer of the parent merchant")
    return customer


# --- standing orders -------------------------------------------------------------------------------


async def read_new(
    request: scheduler_pb2.CreateStandingOrderRequest,
    checking: ConcurrencyLimiter,
    keyring: Keyring,
    now: datetime,
) -> StandingOrder:
    """The standing order that is to be created."""

    def read() -> StandingOrder:
        violations = Violations()
        merchant = names.read_merchant(violations, "parent", request.parent)
        violations.check()
        caller().check(merchant)
        standing_order_id = request.standing_order_id
        if standing_order_id:
            read_id(violations, "standing_order_id", standing_order_id)
        else:
            standing_order_id = str(derived_id(merchant, request.request_id))
        key = StandingOrderKey(merchant, StandingOrderId(standing_order_id))
        standing_order = read_standing_order(*key, request.standing_order, now, keyring, violations)
        return at_cycle(_sound(standing_order, violations), 1)

    return await read_aside(request.standing_order, checking, read)


def read_update(
    message: scheduler_pb2.StandingOrder,
    mask: field_mask_pb2.FieldMask,
    checking: ConcurrencyLimiter,
    keyring: Keyring,
    now: datetime,
) -> Update:
    """Which fields of which standing order are to be changed, and what that makes of it."""
    violations = Violations()
    _check_mask(violations, mask)
    key = read_name(message.name, "standing_order.name")

    async def merge(present: StandingOrder) -> StandingOrder:
        merged = standing_order_message(present, keyring)
        merged.schedule.ClearField("rrule")
        mask.MergeMessage(message, merged, replace_message_field=True, replace_repeated_field=True)

        def read() -> StandingOrder | None:
            return read_standing_order(*key, merged, now, keyring, violations, present.plan)

        return _sound(await read_aside(merged, checking, read), violations)

    return Update(key, message.etag, frozenset(mask.paths), merge)


def _check_mask(violations: Violations, mask: field_mask_pb2.FieldMask) -> None:
    violations.require("update_mask", "must name at least one field", met=bool(mask.paths))
    if not set(mask.paths) <= set(CHANGEABLE_FIELDS):
        violations.add("update_mask", f"must name only {', '.join(CHANGEABLE_FIELDS)}")
    violations.check()


def _sound(standing_order: StandingOrder | None, violations: Violations) -> StandingOrder:
    """A standing order that was read without a violation."""
    violations.check()
    if standing_order is None:
        msg = "a message without violations gave no standing order"
        raise RuntimeError(msg)
    return standing_order


def read_standing_orders_query(
    request: scheduler_pb2.ListStandingOrdersRequest,
) -> tuple[MerchantId, CustomerId | None, str | None]:
    """Whose standing orders in which state are to be listed; None: of all customers, in any."""
    violations = Violations()
    merchant = names.read_merchant(violations, "parent", request.parent)
    customer = read_customer_filter(violations, merchant, request.customer)
    violations.check()
    caller().check(merchant)
    state = scheduler_pb2.StandingOrder.State.Name(request.state) if request.state else None
    return merchant, customer, state


def read_pause(
    request: scheduler_pb2.PauseStandingOrderRequest, now: datetime
) -> tuple[StandingOrderKey, str, datetime | None, int | None]:
    """Which standing order is to be paused, by its etag, until when or for how many cycles."""
    violations = Violations()
    until_time = cycle_count = None
    match request.WhichOneof("duration"):
        case "until_time":
            until_time = read_timestamp(violations, "until_time", request.until_time)
            violations.require("until_time", "must be later than now", met=until_time > now)
        case "cycle_count":
            cycle_count = request.cycle_count
            violations.require_range("cycle_count", cycle_count, 1, CHANGE_AHEAD_MAX_CYCLES)
    violations.check()
    return read_name(request.name), request.etag, until_time, cycle_count


def read_resume(
    request: scheduler_pb2.ResumeStandingOrderRequest,
) -> tuple[StandingOrderKey, str, date | None]:
    """Which standing order is to go on, by its etag, and from which date if one is named."""
    violations = Violations()
    anchor_date = None
    if request.HasField("anchor_date"):
        anchor_date = read_calendar_date(violations, "anchor_date", request.anchor_date)
    violations.check()
    return read_name(request.name), request.etag, anchor_date


# --- cycles ----------------------------------------------------------------------------------------


def read_cycle(
    request: scheduler_pb2.SkipCycleRequest | scheduler_pb2.RestoreCycleRequest, *, least: int
) -> tuple[StandingOrderKey, str, int]:
    """Which cycle of which standing order, by its etag."""
    _check_cycle("cycle", request.cycle, least)
    return read_name(request.name), request.etag, request.cycle


def read_changed_cycle(
    request: scheduler_pb2.ChangeCycleRequest,
) -> tuple[OrderKey, str, tuple[Item, ...]]:
    """Which cycle is to be changed, by its standing order's etag, and its items if they are."""
    _check_cycle("change.cycle", request.change.cycle, 1)
    key = read_name(request.name)
    violations = Violations()
    items: tuple[Item, ...] = ()
    if request.change.items:
        items = read_items(violations, "change.items", key.merchant, request.change.items)
    violations.check()
    return OrderKey(*key, request.change.cycle), request.etag, items


def read_change(
    message: scheduler_pb2.CycleChange, keyring: Keyring, standing_order: StandingOrder
) -> CycleChange:
    """The cycle's change with what the message adds to it."""
    violations = Violations()
    change = standing_order.change(message.cycle)
    if message.HasField("local_date"):
        day = read_calendar_date(violations, "change.local_date", message.local_date)
        change = replace(change, local_date=day)
    if message.items:
        items = read_items(violations, "change.items", standing_order.merchant, message.items)
        change = replace(change, items=items)
    address = read_ship_to(violations, "change.ship_to", message)
    customer = standing_order.merchant, standing_order.customer
    given = address.ByteSize() > 0
    # The same address re-encrypted would look like another one.
    if given and address != addresses.decrypt(keyring, *customer, change.ship_to):
        change = replace(change, ship_to=addresses.encrypt(keyring, *customer, address))
    named = message.HasField("local_date") or message.items or given
    violations.require("change", "must change something", met=bool(named))
    violations.check()
    return change


def _check_cycle(field: str, cycle: int, least: int) -> None:
    violations = Violations()
    violations.require(field, f"must be at least {least}", met=cycle >= least)
    violations.check()


def read_cycle_count(cycle_count: int) -> int:
    """How many cycles are to be previewed."""
    violations = Violations()
    count = cycle_count or PREVIEW_DEFAULT_CYCLES
    violations.require_range("cycle_count", count, 1, PREVIEW_MAX_CYCLES)
    violations.check()
    return count


# --- orders ----------------------------------------------------------------------------------------


def read_order_filter(request: scheduler_pb2.ListOrdersRequest) -> OrderFilter:
    """Which orders are to be listed."""
    violations = Violations()
    parent, standing_order = ORDERS_PARENT.read(violations, "parent", request.parent)
    merchant = MerchantId(parent)
    customer = read_customer_filter(violations, merchant, request.customer)
    due_from, due_before = (
        read_bound(violations, name, getattr(request, name)) if request.HasField(name) else None
        for name in DUE_FILTERS
    )
    violations.check()
    caller().check(merchant)
    return OrderFilter(
        merchant,
        None if standing_order == "-" else StandingOrderId(standing_order),
        customer,
        [scheduler_pb2.Order.State.Name(request.state)] if request.state else None,
        due_from,
        due_before,
    )


# --- demand ----------------------------------------------------------------------------------------


def read_span(request: scheduler_pb2.ForecastDemandRequest, now: datetime) -> Span:
    """Whose demand is to be forecast, from which date to which."""
    violations = Violations()
    merchant = names.read_merchant(violations, "parent", request.parent)
    first = today = now.astimezone(UTC).date()
    if request.HasField("start_date"):
        first = read_calendar_date(violations, "start_date", request.start_date)
        violations.check()
        violations.require("start_date", "must not be past", met=first >= today)
    last = min(first + timedelta(days=FORECAST_DEFAULT_DAYS), LAST_DATE)
    if request.HasField("end_date"):
        last = read_calendar_date(violations, "end_date", request.end_date)
        violations.require(
            "end_date",
            f"must be 0 to {FORECAST_MAX_DAYS} days after start_date",
            met=0 <= (last - first).days <= FORECAST_MAX_DAYS,
        )
    violations.check()
    caller().check(merchant)
    return Span(merchant, first, last)


# --- purchases -------------------------------------------------------------------------------------


def read_purchase(
    request: scheduler_pb2.RecordPurchaseRequest, now: datetime
) -> tuple[MerchantId, CustomerId, list[str], datetime]:
    """Who bought which products, and when."""
    merchant, customer = read_customer_name(request.customer)
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


def read_settings_name(name: str) -> MerchantId:
    """The merchant whose settings are named."""
    violations = Violations()
    merchant = names.read_merchant(violations, "name", name, names.SETTINGS)
    violations.check()
    caller().check(merchant)
    return merchant


def read_settings(message: scheduler_pb2.SchedulerSettings) -> tuple[MerchantId, UnpaidPolicy]:
    """What a merchant's settings are to be."""
    violations = Violations()
    merchant = names.read_merchant(
        violations, "scheduler_settings.name", message.name, names.SETTINGS
    )
    policy = _read_policy(violations, message.unpaid_policy)
    violations.check()
    caller().check(merchant)
    return merchant, policy


def _read_policy(violations: Violations, number: int) -> UnpaidPolicy:
    policies = scheduler_pb2.SchedulerSettings.UnpaidPolicy
    known = number in policies.values() and number != 0
    violations.require(
        "scheduler_settings.unpaid_policy", "must be GO_ON, WAIT or PAUSE", met=known
    )
    if not known:
        return UnpaidPolicy.GO_ON
    return UnpaidPolicy(policies.Name(number))  # type: ignore[arg-type]
