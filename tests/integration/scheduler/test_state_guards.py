"""The database's guards of states, compared with the tables of transitions."""

from dataclasses import replace
from itertools import product

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.runtime.db.pool import Database, connect
from services.scheduler.domain.order import OrderReason, OrderState
from services.scheduler.domain.transitions import ORDER
from services.scheduler.store import orders, sign_ups
from tests.conftest import KEYRING, ServiceDatabase
from tests.unit.scheduler.test_order import DUE, announced
from tests.unit.scheduler.test_standing_order import standing_order

SET_STATE = text("UPDATE orders SET state = :state WHERE cycle = :cycle")


async def test_an_order_leaves_a_final_state_only_as_the_table_says(
    service_database: ServiceDatabase,
) -> None:
    address = service_database("scheduler")
    database = Database(connect(address, application="test", pool_size=2, keyring=KEYRING))
    pairs = list(product(OrderState, OrderState))
    reasons = (OrderReason.SKIPPED_BY_CUSTOMER,)
    rows = [
        replace(
            announced(),
            key=announced().key._replace(cycle=cycle),
            state=before,
            reasons=reasons,
        )
        for cycle, (before, _) in enumerate(pairs, 1)
    ]
    async with database.begin() as tx:
        await sign_ups.insert(tx, [standing_order()])
        await orders.insert(tx, rows, DUE)
    refused = set()
    for cycle, (before, after) in enumerate(pairs, 1):
        try:
            async with database.begin() as tx:
                await tx.execute(SET_STATE, {"state": after, "cycle": cycle})
        except DBAPIError:
            refused.add((before, after))
    await database.close()
    reached = {(before, after) for (before, _), after in ORDER.table.items()}
    final = {OrderState.SKIPPED, *(one for one in OrderState if ORDER.is_terminal(one))}
    assert refused == {
        (before, after)
        for before, after in pairs
        if before in final and before is not after and (before, after) not in reached
    }
