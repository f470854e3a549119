"""No repeated purchase: what a customer bought elsewhere, and what that means for a cycle. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.scheduler.domain.ids import CustomerId, MerchantId
from services.scheduler.domain.order import Order, OrderReason


class RepurchaseAction(StrEnum):
    """What becomes of a cycle with a product that the customer bought elsewhere."""

    SKIP = "SKIP"
    HOLD_AND_ASK = "HOLD_AND_ASK"


@dataclass(frozen=True, slots=True)
class RepurchaseRule:
    """Which purchases count for a standing order, and what they do."""

    # A purchase less than this before the due time counts.
    window: timedelta
    action: RepurchaseAction = RepurchaseAction.SKIP


class PurchaseKey(NamedTuple):
    """One product of one customer."""

    merchant: MerchantId
    customer: CustomerId
    product: str


@dataclass(frozen=True, slots=True)
class Purchase:
    """When a customer last bought a product elsewhere."""

    product: str
    purchase_time: datetime


def keys_of(order: Order) -> Iterable[PurchaseKey]:
    """The purchases that could speak against an order."""
    return (PurchaseKey(order.key.merchant, order.customer, item.product) for item in order.items)


def repeated(
    order: Order, rule: RepurchaseRule | None, last: Mapping[PurchaseKey, datetime]
) -> Purchase | None:
    """The purchase that an order would repeat; None if it may go on.

    One that the customer confirmed, or asked for at once, is wanted, whatever they bought.
    """
    if rule is None:
        return None
    if OrderReason.PURCHASED_ELSEWHERE in order.confirmed_reasons:
        return None
    for key in keys_of(order):
        bought = last.get(key)
        # One in the window before the due time, or since.
        if bought is not None and bought > order.due_time - rule.window:
            return Purchase(key.product, bought)
    return None
