"""The database's guards of states, compared with the tables of transitions."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import product

import asyncpg
import pytest

from services.runtime.db.pool import Connection, Database, Pool
from services.scheduler.domain.ids import StandingOrderId, StandingOrderKey
from services.scheduler.domain.order import OrderReason, OrderState
from services.scheduler.domain.standing_order import StandingOrder, State
from services.scheduler.domain.transitions import ORDER, STANDING_ORDER, StandingOrderEvent
from services.scheduler.store import orders, sign_ups, standing_orders
from tests.conftest import KEYRING, ServiceDatabase
from tests.unit.scheduler.test_order import DUE, announced
from tests.unit.scheduler.test_standing_order import new_standing_order

SET_STATE = "UPDATE orders SET state = $1, late_payment_until_time = NULL WHERE cycle = $2"


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    address = service_database("scheduler")
    database = Database(Pool(address, application="test", size=2, keyring=KEYRING))
    yield database
    await database.close()


async def test_an_order_leaves_a_final_state_only_as_the_table_says(database: Database) -> None:
    pairs = list(product(OrderState, OrderState))
    reasons = (OrderReason.SKIPPED_BY_CUSTOMER,)
    rows = [
        announced()._replace(
            key=announced().key._replace(cycle=cycle),
            state=before,
            reasons=reasons,
            late_payment_until_time=DUE if before is OrderState.LAPSED else None,
        )
        for cycle, (before, _) in enumerate(pairs, 1)
    ]
    async with database.begin() as tx:
        await sign_ups.insert(tx, [new_standing_order()])
        await orders.insert(tx, rows, DUE)
    refused = set()
    for cycle, (before, after) in enumerate(pairs, 1):
        try:
            async with database.begin() as tx:
                await tx.execute(SET_STATE, after, cycle)
        except asyncpg.PostgresError:
            refused.add((before, after))
    reached = {(before, after) for (before, _), after in ORDER.table.items()}
    # Each has one way out, and only of a row that says so.
    final = {state for state in OrderState if ORDER.is_terminal(state)}
    final |= {OrderState.SKIPPED, OrderState.LAPSED}
    assert refused == {
        (before, after)
        for before, after in pairs
        if before in final and before is not after and (before, after) not in reached
    }


async def test_an_order_that_lapsed_for_good_is_never_paid(database: Database) -> None:
    async with database.begin() as tx:
        await sign_ups.insert(tx, [new_standing_order()])
        await orders.insert(tx, [announced()._replace(state=OrderState.LAPSED)], DUE)
    with pytest.raises(asyncpg.PostgresError, match="LAPSED"):
        async with database.begin() as tx:
            await tx.execute(SET_STATE, OrderState.PAID, announced().key.cycle)


Change = Callable[
    [Connection, Sequence[StandingOrderKey], datetime], Awaitable[Sequence[StandingOrder]]
]


async def changed(
    database: Database, change: Change, original: StandingOrder
) -> dict[State, State]:
    """What a statement makes of standing orders, by the state that they were in."""
    before = [replace(original, standing_order=StandingOrderId(s.lower()), state=s) for s in State]
    async with database.begin() as tx:
        await sign_ups.insert(tx, before)
        after = await change(tx, [standing_order.key for standing_order in before], DUE)
    return {
        State(standing_order.standing_order.upper()): standing_order.state
        for standing_order in after
    }


def by_the_table(event: StandingOrderEvent) -> dict[State, State]:
    return {before: STANDING_ORDER.to(before, event) for before in STANDING_ORDER.sources(event)}


@pytest.mark.parametrize(
    ("last_cycle", "event"),
    [(None, StandingOrderEvent.COMPLETE), (3, StandingOrderEvent.CANCEL)],
)
async def test_a_standing_order_without_a_further_cycle_ends_as_the_table_says(
    database: Database, last_cycle: int | None, event: StandingOrderEvent
) -> None:
    finished = replace(new_standing_order(), next_cycle=None, last_cycle=last_cycle)
    ended = await changed(database, standing_orders.complete, finished)
    assert ended == by_the_table(event)


async def test_a_standing_order_is_paused_only_where_the_table_says(database: Database) -> None:
    original = new_standing_order()

    async def pause(
        tx: Connection, keys: Sequence[StandingOrderKey], now: datetime
    ) -> list[StandingOrder]:
        lacking = [(key, original.items[0].product) for key in keys]
        return await standing_orders.pause_without(tx, lacking, now)

    assert await changed(database, pause, original) == by_the_table(StandingOrderEvent.PAUSE)


async def test_a_standing_order_is_not_paused_for_a_product_that_it_does_not_have(
    database: Database,
) -> None:
    async def pause(
        tx: Connection, keys: Sequence[StandingOrderKey], now: datetime
    ) -> list[StandingOrder]:
        return await standing_orders.pause_without(tx, [(key, "other") for key in keys], now)

    assert await changed(database, pause, new_standing_order()) == {}
