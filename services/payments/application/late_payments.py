"""Overdue requests: nobody pays late for what cannot be had any more."""

from services.payments.clients.stock import Stock
from services.payments.domain.keys import ChargeKey
from services.payments.domain.lines import load_lines
from services.payments.domain.transitions import ChargeState
from services.payments.store import charges as charge_store
from services.runtime.db.pool import Database
from services.runtime.errors import wrong_state


async def check_stock(database: Database, stock: Stock | None, key: ChargeKey) -> None:
    """Refuse a late payment while a product of the order is out of stock.

    An order that lapsed holds no units. They are taken when it is paid: who comes in between may be
    quicker. Raises FAILED_PRECONDITION OUT_OF_STOCK, and ConnectionError where nobody can be asked.
    """
    async with database.read() as connection:
        charge = (await charge_store.by_key(connection, [key])).get(key)
    if charge is None or charge.overdue_time is None or charge.state is not ChargeState.REQUESTED:
        return
    lines = load_lines(charge.lines)
    if not lines:
        return
    if stock is None:
        raise ConnectionError("there is no catalog to ask")
    if lacking := await stock.lacking(charge.merchant, lines):
        raise wrong_state(
            "OUT_OF_STOCK",
            "the order lapsed, and its products are gone meanwhile",
            products=",".join(lacking),
        )
