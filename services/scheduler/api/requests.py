"""From requests to the domain, noting everything that is wrong with them.

What names a resource of another merchant is PERMISSION_DENIED.
"""

from datetime import datetime
from typing import Literal

from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.auth.call_context import caller
from services.runtime.errors import Violations
from services.runtime.resource_names import NamePattern
from services.runtime.rpc.conversions import read_bound, read_timestamp
from services.scheduler import names
from services.scheduler.application.orders import OrdersQuery
from services.scheduler.domain.ids import (
    CustomerId,
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.settings import UnpaidPolicy

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


# --- orders ----------------------------------------------------------------------------------------


def read_orders_query(request: scheduler_pb2.ListOrdersRequest) -> OrdersQuery:
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
    return OrdersQuery(
        merchant,
        None if standing_order == "-" else StandingOrderId(standing_order),
        customer,
        scheduler_pb2.Order.State.Name(request.state) if request.state else None,
        due_from,
        due_before,
    )


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
