"""A standing order is changed while cycles are due that no worker has come to."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, cast

import pytest

from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Connection, Database, Pool
from services.runtime.mutations import Applied
from services.scheduler.application import cycles, pauses
from services.scheduler.application.standing_orders import (
    Update,
    cancel,
    end_after_current,
    pause,
    resume,
    update,
)
from services.scheduler.clients import Clients
from services.scheduler.domain.ids import OrderKey, StandingOrderId, StandingOrderKey
from services.scheduler.domain.order import OrderState
from services.scheduler.domain.pauses import paused
from services.scheduler.domain.standing_order import (
    CatchUp,
    CatchUpMode,
    CycleChange,
    StandingOrder,
    State,
    with_change,
)
from services.scheduler.store import orders, sign_ups
from services.scheduler.store import standing_orders as store
from tests.conftest import KEYRING, ServiceDatabase
from tests.unit.scheduler.test_standing_order import new_standing_order

# Two cycles were due.
NOW = datetime(2027, 3, 1, tzinfo=UTC)


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    act_for_all("test")
    database = Database(
        Pool(service_database("scheduler"), application="test", size=2, keyring=KEYRING)
    )
    yield database
    await database.close()


async def test_what_another_schedule_leaves_to_be_prepared_is_published_by_its_preparation(
    database: Database,
) -> None:
    known = replace(new_standing_order(), catch_up=CatchUp(CatchUpMode.LATEST_ONLY))

    async def merge(present: StandingOrder) -> StandingOrder:
        return replace(present, schedule=replace(present.schedule, local_time=time(13)))

    async with database.begin() as tx:
        await sign_ups.insert(tx, [known])
    wanted = Update(known.key, "", frozenset({"schedule"}), merge)
    nobody = cast("Clients", None)
    apply = await update(database, nobody, wanted, NOW, allow_duplicate=False)
    async with database.begin() as tx:
        await apply(tx)
        [late] = await orders.open_orders(tx, [known.key])
        types = {row[0] for row in await tx.fetch("SELECT type FROM outbox")}
    assert late.state is OrderState.HELD
    assert types == {
        "recurring.scheduler.v1.StandingOrderChanged",
        "recurring.scheduler.v1.OrderSkipped",
    }


# The pause ended after the first cycle; the second is due since, the third and fourth are to come.
PAUSE_END = datetime(2027, 2, 10, tzinfo=UTC)
AFTER_PAUSE = datetime(2027, 3, 10, tzinfo=UTC)
NOBODY = cast("Clients", None)
Call = Callable[[Database, Connection, StandingOrderKey], Awaitable[Applied[StandingOrder]]]


async def moved(
    database: Database, tx: Connection, key: StandingOrderKey
) -> Applied[StandingOrder]:
    def merge(_: StandingOrder) -> CycleChange:
        return CycleChange(local_date=date(2027, 4, 2))

    apply = await cycles.change(database, NOBODY, OrderKey(*key, 3), "", (), merge, AFTER_PAUSE)
    return cast("Applied[StandingOrder]", await apply(tx))


async def updated(
    field: str, database: Database, tx: Connection, key: StandingOrderKey
) -> Applied[StandingOrder]:
    async def merge(present: StandingOrder) -> StandingOrder:
        if field == "notice_lead":
            return replace(present, notice_lead=timedelta(days=50))
        return replace(present, schedule=replace(present.schedule, local_time=time(13)))

    wanted = Update(key, "", frozenset({field}), merge)
    apply = await update(database, NOBODY, wanted, AFTER_PAUSE, allow_duplicate=True)
    return cast("Applied[StandingOrder]", await apply(tx))


CALLS: dict[str, Call] = {
    "skip the next": lambda _, tx, key: cycles.skip(tx, key, "", AFTER_PAUSE, cycle=0),
    "skip one ahead": lambda _, tx, key: cycles.skip(tx, key, "", AFTER_PAUSE, cycle=3),
    "restore": lambda _, tx, key: cycles.restore(tx, key, "", AFTER_PAUSE, cycle=4),
    "move": moved,
    "order now": lambda _, tx, key: cycles.order_now(tx, key, "", AFTER_PAUSE),
    "pause": lambda _, tx, key: pause(tx, key, "", AFTER_PAUSE, until_time=None, cycle_count=None),
    "cancel": lambda _, tx, key: cancel(tx, key, "", AFTER_PAUSE),
    "end": lambda _, tx, key: end_after_current(tx, key, "", AFTER_PAUSE),
    "update the lead": partial(updated, "notice_lead"),
    "update the schedule": partial(updated, "schedule"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_finds_a_pause_over_that_no_worker_has_ended(
    database: Database, name: str
) -> None:
    async def become(standing_order: str, *, on_time: bool) -> tuple[object, ...]:
        known = replace(new_standing_order(), standing_order=StandingOrderId(standing_order))
        known = with_change(paused(known, PAUSE_END, None), 4, CycleChange(skip=True))
        async with database.begin() as tx:
            await sign_ups.insert(tx, [known])
            if on_time:
                await pauses.resume(tx, [known], PAUSE_END)
        async with database.begin() as tx:
            await CALLS[name](database, tx, known.key)
            if not on_time:
                left = await store.get(tx, *known.key)
                assert left is not None
                if left.state is State.PAUSED and left.resume_time is not None:
                    await pauses.resume(tx, [left], AFTER_PAUSE)
            after = await store.get(tx, *known.key)
            assert after is not None
            rows = await tx.fetch(
                "SELECT cycle, state, reasons FROM orders WHERE standing_order = $1 ORDER BY cycle",
                standing_order,
            )
            published = await tx.fetch(
                "SELECT type, count(*) FROM outbox CROSS JOIN unnest(partition_keys) AS name"
                " WHERE name LIKE '%/' || $1 || '%' GROUP BY type ORDER BY type",
                standing_order,
            )
        same: dict[str, Any] = {
            "standing_order": StandingOrderId(""),
            "version": 0,
            "update_time": AFTER_PAUSE,
        }
        # Nobody has to know that what is cancelled went on before.
        return replace(after, **same), rows, name == "cancel" or published

    assert await become("late", on_time=False) == await become("timely", on_time=True)


async def test_a_new_anchor_leaves_out_nothing_that_was_due_after_the_end_of_a_pause(
    database: Database,
) -> None:
    resting = paused(new_standing_order(), PAUSE_END, None)
    async with database.begin() as tx:
        await sign_ups.insert(tx, [resting])
        await resume(tx, resting.key, "", AFTER_PAUSE, anchor_date=date(2027, 3, 20))
        [late] = await orders.open_orders(tx, [resting.key])
    assert (late.key.cycle, late.state) == (2, OrderState.HELD)
