"""A standing order is changed while cycles are due that no worker has come to."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import cast

import pytest

from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Database, Pool
from services.scheduler.application.standing_orders import Update, update
from services.scheduler.clients import Clients
from services.scheduler.domain.order import OrderState
from services.scheduler.domain.standing_order import CatchUp, CatchUpMode, StandingOrder
from services.scheduler.store import orders, sign_ups
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
