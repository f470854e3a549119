"""Who gets the stock. Pure functions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.catalog.domain.products import (
    Fault,
    Item,
    ItemFault,
    MerchantId,
    ProductId,
    ProductKey,
)


@dataclass(frozen=True, slots=True)
class Stock:
    """The units of a product."""

    merchant: MerchantId
    product: ProductId
    on_hand_units: int
    held_units: int
    version: int

    @property
    def key(self) -> ProductKey:
        """The product."""
        return ProductKey(self.merchant, self.product)

    @property
    def available_units(self) -> int:
        """What can still be held."""
        return self.on_hand_units - self.held_units


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """Stock wanted for one order."""

    order: str
    items: tuple[Item, ...]
    expire_time: datetime


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
            held = tuple(item for item in request.items if item.key in available)
            granted.append(replace(request, items=held))
    return granted, short


def shortages(items: Sequence[Item], available: Mapping[ProductKey, int]) -> list[Fault]:
    """Which of the items are short, where these units are available of what is tracked."""
    wanted = _tracked(items, available)
    return [
        Fault(key, ItemFault.OUT_OF_STOCK)
        for key, units in wanted.items()
        if available[key] < units
    ]


def _tracked(items: Sequence[Item], available: Mapping[ProductKey, int]) -> Counter[ProductKey]:
    wanted: Counter[ProductKey] = Counter()
    for item in items:
        if item.key in available:
            wanted[item.key] += item.quantity
    return wanted
