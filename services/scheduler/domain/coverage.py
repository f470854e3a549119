"""How far the stock of a product reaches: which cycles it cannot serve, present and expected. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from services.scheduler.domain.ids import OrderKey


class Supply(NamedTuple):
    """What there is of a product, and what is expected, by date."""

    title: str
    available_units: int
    deliveries: Sequence[tuple[date, int]]
    # False: as many as anybody wants, or as its parts allow.
    is_tracked: bool = True
    # A bundle: of which products (names) how many make one unit.
    parts: Mapping[str, int] = {}
    # A service: how many slots its days have that no paid order uses; None: it is none.
    days: Mapping[date, int] | None = None


class CycleDemand(NamedTuple):
    """What one cycle wants of a product. They sort by when they take it."""

    due_time: datetime
    key: OrderKey
    local_date: date
    units: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far the stock of one product reaches."""

    supply: Supply
    # By deliveries that count.
    expected_units: int
    demand_units: int
    # The cycles that cannot be served, the first one first.
    short: Sequence[CycleDemand]


def coverage(supply: Supply, demands: Iterable[CycleDemand], today: date, last: date) -> Coverage:
    """Give out the units, first come first served, each cycle whole or not at all.

    A delivery serves the cycles from its date on. One that should have come already may never come.
    A service has slots by day instead, and each cycle takes those of its own date.
    """
    if supply.days is not None:
        return _coverage_by_day(supply, supply.days, demands)
    coming = sorted(delivery for delivery in supply.deliveries if today <= delivery[0] <= last)
    ordered = sorted(demands)
    left, arrived = supply.available_units, 0
    short: list[CycleDemand] = []
    for demand in ordered:
        # A cycle that is late takes what there is today.
        day = max(demand.local_date, today)
        while arrived < len(coming) and coming[arrived][0] <= day:
            left += coming[arrived][1]
            arrived += 1
        if demand.units <= left:
            left -= demand.units
        else:
            short.append(demand)
    return Coverage(
        supply,
        sum(units for _, units in coming),
        sum(demand.units for demand in ordered),
        short,
    )


def _coverage_by_day(
    supply: Supply, days: Mapping[date, int], demands: Iterable[CycleDemand]
) -> Coverage:
    left = dict(days)
    # What is late has missed its day, and is moved or ends.
    ordered = sorted(demand for demand in demands if demand.local_date in left)
    short: list[CycleDemand] = []
    for demand in ordered:
        if demand.units <= left[demand.local_date]:
            left[demand.local_date] -= demand.units
        else:
            short.append(demand)
    units = sum(demand.units for demand in ordered)
    return Coverage(supply._replace(available_units=sum(days.values())), 0, units, short)
