"""Whatever the order in which holds and ends of an order arrive, its stock ends where it belongs."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import pytest
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from tests.integration.catalog.shop import Shop, item, order

SKIPPED = scheduler_events_pb2.OrderSkipped
CANCELLED = scheduler_events_pb2.OrderCancelled
CONFIRMED = scheduler_events_pb2.OrderConfirmed
# What arrives: what is asked or published, and by which announcement of the order.
Message = tuple[Any, int]
HOLD = "hold"
# Each announcement is of another quantity, so that none passes for another.
UNITS = {1: 1, 2: 20}
ON_HAND = 100_000

# What is sent in a life -> the units that are held at its end, and those that have left the stock.
LIVES: dict[str, tuple[Sequence[Message], int, int]] = {
    "held, then cancelled": ([(HOLD, 1), (CANCELLED, 1)], 0, 0),
    "held by two processes, then cancelled": ([(HOLD, 1), (HOLD, 1), (CANCELLED, 1)], 0, 0),
    "announced again with a substitute": ([(HOLD, 1), (HOLD, 2)], UNITS[2], 0),
    "announced again, then cancelled": ([(HOLD, 1), (HOLD, 2), (CANCELLED, 2)], 0, 0),
    "left out and restored": ([(HOLD, 1), (SKIPPED, 1), (HOLD, 2)], UNITS[2], 0),
    "left out twice": ([(HOLD, 1), (SKIPPED, 1), (HOLD, 2), (SKIPPED, 2)], 0, 0),
    "left out, restored and paid": (
        [(HOLD, 1), (SKIPPED, 1), (HOLD, 2), (CONFIRMED, 2)],
        0,
        UNITS[2],
    ),
    "ended, paid by a scheduler that lost that": (
        [(SKIPPED, 2), (HOLD, 2), (CONFIRMED, 2)],
        0,
        UNITS[2],
    ),
}


def arrivals(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Every order in which messages can arrive, the last of them once more."""
    for arriving in sorted(set(permutations(messages)), key=str):
        paid = (CONFIRMED, 2)
        # Nothing is paid before its stock was held: that it is held is answered first.
        if paid not in arriving or arriving.index((HOLD, 2)) < arriving.index(paid):
            yield (*arriving, arriving[-1])


@pytest.mark.parametrize("life", LIVES)
async def test_in_every_order_of_arrival_the_stock_ends_where_it_belongs(
    shop: Shop, life: str
) -> None:
    messages, held_units, gone_units = LIVES[life]
    await shop.sell("tea", 100, units=ON_HAND)
    held = gone = 0
    for cycle, arriving in enumerate(arrivals(messages), 1):
        for what, announcement in arriving:
            if what == HOLD:
                items = [item("tea", UNITS[announcement])]
                await shop.hold((order("weekly", cycle), items), announcement=announcement)
            else:
                await shop.order_event(what, order("weekly", cycle), announcement=announcement)
        held, gone = held + held_units, gone + gone_units
        assert (await shop.units("tea"))[:2] == (ON_HAND - gone, held), arriving
