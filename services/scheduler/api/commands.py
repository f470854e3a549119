"""What an operator can have done by hand in the scheduler."""

import argparse
from collections.abc import AsyncIterator

from services.runtime.app.commands import Command, CommandContext, CommandFailed, Line, moment
from services.scheduler.application import catalog_restore
from services.scheduler.domain.ids import OrderKey
from services.scheduler.names import order_name, standing_order_name


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since",
        type=moment,
        required=True,
        metavar="TIME",
        help="what has changed since then by the clock of the suite, such as 2026-11-24T08:00:00Z",
    )


async def _restore_catalog(
    context: CommandContext, options: argparse.Namespace
) -> AsyncIterator[Line]:
    """Ask the catalog again for what it held, booked and protected, after it was restored."""
    standing_orders = orders = problems = 0
    asked = catalog_restore.ask_again(
        context.database, context.clients, options.since, context.clock.now()
    )
    async for batch in asked:
        standing_orders += batch.standing_orders
        orders += batch.orders
        problems += len(batch.problems)
        for key, why in batch.problems:
            name = order_name(key) if isinstance(key, OrderKey) else standing_order_name(*key)
            yield {"about": name, "problem": why}
    yield {
        "standing_orders": standing_orders,
        "orders": orders,
        "problems": problems,
        "since": options.since,
    }
    if problems:
        raise CommandFailed


COMMANDS = {
    "restore-catalog": Command(
        "ask a catalog that was restored again for stock holds, bookings and sign-up prices",
        _restore_catalog,
        _arguments,
    ),
}
