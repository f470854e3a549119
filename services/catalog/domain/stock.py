"""Who gets the stock. Pure functions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from services.catalog.domain.products import (
    Fault,
    Item,
    ItemFault,
    MerchantId,
    ProductId,
    ProductKey,
)
from services.catalog.domain.transitions import HoldState


@dataclass(frozen=True, slots=True)
class Stock:
    """The units of a product."""

    merchant: MerchantId
    product: ProductId
    on_hand_units: int
    # Of those on hand, promised to orders that are not settled yet.
    held_units: int
    # Gone, for orders that were paid.
    committed_units: int
    # Whether an order was refused for the want of units since there were last more of them.
    is_awaited: bool
    version: int

    @property
    def key(self) -> ProductKey:
        """The product."""
        return ProductKey(self.merchant, self.product)

    @property
    def available_units(self) -> int:
        """What can still be held."""
        return self.on_hand_units - self.held_units


class HoldRequest(NamedTuple):
    """Stock wanted for one order."""

    order: str
    # How often the order had been announced when this was asked for.
    announcement_count: int
    items: tuple[Item, ...]
    expire_time: datetime
    # When the order is due.
    due_time: datetime
    # With bundles, where `items` has their parts; empty: those are what was ordered.
    ordered_items: tuple[Item, ...] = ()
    # The order is paid, and what was held for it was lost.
    paid: bool = False


class Hold(NamedTuple):
    """What there is of an order."""

    order: str
    announcement_count: int
    state: HoldState
    # Empty where nothing was ever held.
    items: tuple[Item, ...] = ()
    expire_time: datetime | None = None
    due_time: datetime | None = None
    ordered_items: tuple[Item, ...] = ()


class StockChange(StrEnum):
    """What is published to merchants and standing orders of a change of the available units."""

    # They fell to the product's threshold or below it.
    LOW = "LOW"
    # None is left.
    OUT = "OUT"
    # There are more, after none was left or an order was refused for the want of them.
    RESTOCKED = "RESTOCKED"


def stock_changes(before: Stock, after: Stock, low_stock_threshold: int) -> list[StockChange]:
    """What is worth hearing of a change of the available units; each is said once."""
    had, has = before.available_units, after.available_units
    if has > had:
        return [StockChange.RESTOCKED] if had <= 0 or before.is_awaited else []
    changes = [StockChange.LOW] if has <= low_stock_threshold < had else []
    return [*changes, StockChange.OUT] if has <= 0 < had else changes


def held_again(holds: Iterable[Hold]) -> list[HoldRequest]:
    """What orders that are paid want once more: their holds had run out, or had ended with them."""
    return [
        HoldRequest(
            hold.order,
            hold.announcement_count + (hold.state is HoldState.ENDED),
            hold.items,
            hold.expire_time,
            hold.due_time,
            hold.ordered_items,
        )
        for hold in holds
        if hold.state in (HoldState.RELEASED, HoldState.ENDED)
        if hold.expire_time and hold.due_time
    ]


def to_hold(
    requests: Sequence[HoldRequest], known: Mapping[str, Hold]
) -> tuple[list[HoldRequest], list[str]]:
    """The requests that ask for what is not there yet, and the orders whose hold is out of date.

    An order is announced with its items, and again with others. What was asked for by an earlier
    announcement, or before the order ended, comes too late and changes nothing. One that is paid has
    not ended.
    """
    wanted = {request.order: _paid_late(request, known) for request in requests}
    new = [
        request
        for order, request in wanted.items()
        if order not in known or _may_hold(request, known[order])
    ]
    outdated = [r.order for r in new if r.order in known and known[r.order].state is HoldState.HELD]
    return new, outdated


def ended(
    requests: Sequence[HoldRequest],
    known: Mapping[str, Hold],
    available: Mapping[ProductKey, int],
) -> list[HoldRequest]:
    """The requests for orders that have ended with the same announcement, with items as in `allocate`.

    One may come late, or from a scheduler that has lost the end of the order.
    """
    return [
        _of_tracked(request, available)
        for request in requests
        if (hold := known.get(request.order)) is not None
        and hold.state is HoldState.ENDED
        and hold.announcement_count == request.announcement_count
        and not request.paid
    ]


def _paid_late(request: HoldRequest, known: Mapping[str, Hold]) -> HoldRequest:
    """A request, and of an order that was paid after it had ended as if it had been announced again."""
    hold = known.get(request.order)
    if not request.paid or hold is None or hold.state is not HoldState.ENDED:
        return request
    return request._replace(announcement_count=hold.announcement_count + 1)


def _may_hold(request: HoldRequest, known: Hold) -> bool:
    match known.state:
        case HoldState.COMMITTED | HoldState.BACKORDERED | HoldState.WAIVED:
            return False
        case HoldState.RELEASED:
            return request.announcement_count >= known.announcement_count
        case HoldState.HELD | HoldState.ENDED:
            return request.announcement_count > known.announcement_count


def allocate(
    requests: Sequence[HoldRequest], available: Mapping[ProductKey, int]
) -> tuple[list[HoldRequest], dict[str, list[Fault]]]:
    """Give out stock, first come first served, each request whole or not at all.

    `available` has the units of the products whose stock is tracked; others are never short. Returns
    the requests that are granted, with those of their items that are tracked, and for each other order
    what it lacks.
    """
    left = Counter(available)
    granted: list[HoldRequest] = []
    short: dict[str, list[Fault]] = {}
    for request in requests:
        lacking = shortages(request.items, left)
        if lacking:
            short[request.order] = lacking
        else:
            left.subtract(_tracked(request.items, available))
            granted.append(_of_tracked(request, available))
    return granted, short


def _of_tracked(request: HoldRequest, available: Mapping[ProductKey, int]) -> HoldRequest:
    items = tuple(item for item in request.items if item.key in available)
    return request._replace(items=items)


def shortages(items: Sequence[Item], available: Mapping[ProductKey, int]) -> list[Fault]:
    """Which of the items are short, where these units are available of what is tracked."""
    wanted = _tracked(items, available)
    return [
        Fault(key, ItemFault.OUT_OF_STOCK, available_units=available[key])
        for key, units in wanted.items()
        if available[key] < units
    ]


def _tracked(items: Sequence[Item], available: Mapping[ProductKey, int]) -> Counter[ProductKey]:
    wanted: Counter[ProductKey] = Counter()
    for item in items:
        if item.key in available:
            wanted[item.key] += item.quantity
    return wanted
