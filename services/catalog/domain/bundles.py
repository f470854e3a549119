"""Bundles: products whose stock is that of their parts. Pure functions."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from services.catalog.domain.products import Fault, Item, ItemFault, ProductKey
from services.catalog.domain.stock import HoldRequest, Stock

# Of one bundle, with the parts of the bundles in it; and of one part.
BUNDLE_MAX_PRODUCTS = 100
BUNDLE_MAX_UNITS = 10_000

# By product, the parts of those that are bundles.
Bundles = Mapping[ProductKey, Sequence[Item]]


class BundleFault(NamedTuple):
    """What is wrong with the parts of a bundle: which of them, and why; None: all together."""

    place: int | None
    reason: str


def bundle_faults(
    bundle: ProductKey,
    parts: Sequence[Item],
    known: Mapping[ProductKey, Sequence[Item]],
    by_day: Collection[ProductKey] = (),
) -> list[BundleFault]:
    """What is wrong with the parts of a new bundle.

    `known` has the parts of each product that there is, none of them a bundle. `by_day` has those that
    are services: they are booked for a day, so an order must name them itself. A bundle cannot come to
    contain itself through others: what it is made of is there before it, and stays as it is.
    """
    faults = [
        BundleFault(place, reason)
        for place, part in enumerate(parts)
        if (reason := _part_fault(bundle, part, known, by_day))
    ]
    if faults:
        return faults
    items = flattened(parts, known)
    is_large = len(items) > BUNDLE_MAX_PRODUCTS
    if is_large or any(item.quantity > BUNDLE_MAX_UNITS for item in items):
        return [BundleFault(None, "BUNDLE_TOO_LARGE")]
    return []


def _part_fault(
    bundle: ProductKey,
    part: Item,
    known: Mapping[ProductKey, Sequence[Item]],
    by_day: Collection[ProductKey],
) -> str | None:
    if part.key == bundle:
        return "BUNDLE_CONTAINS_ITSELF"
    if part.key in by_day:
        return "BUNDLE_PART_BY_DAY"
    return None if part.key in known else "BUNDLE_PART_NOT_FOUND"


def flattened(
    parts: Sequence[Item], known: Mapping[ProductKey, Sequence[Item]]
) -> tuple[Item, ...]:
    """The parts of a new bundle, with the parts of the bundles among them in their place."""
    return expanded(parts, {key: of_part for key, of_part in known.items() if of_part})


def expanded(items: Iterable[Item], bundles: Bundles) -> tuple[Item, ...]:
    """Items with the parts of bundles in their place, each product once."""
    sums: Counter[ProductKey] = Counter()
    for item in items:
        for part in bundles.get(item.key, (Item(item.key, 1),)):
            sums[part.key] += part.quantity * item.quantity
    return tuple(Item(key, quantity) for key, quantity in sums.items())


def request_expanded(request: HoldRequest, bundles: Bundles) -> HoldRequest:
    """What a request takes from the stock, beside what was ordered."""
    if not any(item.key in bundles for item in request.items):
        return request
    return request._replace(items=expanded(request.items, bundles), ordered_items=request.items)


def held_as_ordered(
    request: HoldRequest, bundles: Bundles, tracked: Collection[ProductKey]
) -> HoldRequest:
    """A request that was granted, beside those of the ordered items that have tracked units."""
    ordered = tuple(
        item
        for item in request.ordered_items
        if any(part.key in tracked for part in bundles.get(item.key, (item,)))
    )
    return request._replace(ordered_items=ordered)


def faults_as_ordered(
    items: Iterable[Item],
    short: Sequence[Fault],
    bundles: Bundles,
    available: Mapping[ProductKey, int],
) -> list[Fault]:
    """What is short of the products, said of the items that were ordered."""
    lacking = {fault.key: fault for fault in short}
    faults: dict[ProductKey, Fault] = {}
    for item in items:
        parts = bundles.get(item.key)
        if parts is None:
            if item.key in lacking:
                faults[item.key] = lacking[item.key]
        elif any(part.key in lacking for part in parts):
            units = min(
                available[part.key] // part.quantity for part in parts if part.key in available
            )
            faults[item.key] = Fault(item.key, ItemFault.OUT_OF_STOCK, available_units=units)
    return list(faults.values())


def bundle_stock(
    bundle: ProductKey, parts: Sequence[Item], stocks: Mapping[ProductKey, Stock]
) -> Stock:
    """As many units of a bundle as its parts make; parts that are not tracked never lack."""
    tracked = [(stocks[part.key], part.quantity) for part in parts if part.key in stocks]
    on_hand = min((stock.on_hand_units // quantity for stock, quantity in tracked), default=0)
    left = min((stock.available_units // quantity for stock, quantity in tracked), default=0)
    return Stock(*bundle, on_hand, on_hand - left, 0, is_awaited=False, version=0)
