"""What an operator can have done by hand in payments."""

import argparse
from collections.abc import AsyncIterator
from datetime import timedelta

from services.payments.names import CHARGE
from services.payments.store import attempts, dispute_lookups, webhooks
from services.runtime.app.commands import Command, CommandContext, Line

SHOWN_MAX_ATTEMPTS = 1000
SHOWN_MAX_WEBHOOKS = 1000
SHOWN_MAX_DISPUTES = 1000


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than",
        type=float,
        default=0,
        metavar="SECONDS",
        help="only charges that have been unknown for longer",
    )
    parser.add_argument(
        "--look-up", action="store_true", help="look the charges up at the provider now"
    )


async def _unknown(context: CommandContext, options: argparse.Namespace) -> AsyncIterator[Line]:
    """Show charges whose outcome nobody knows, with the key by which the provider knows them."""
    now = context.clock.now()
    async with context.database.read() as connection:
        unknown = await attempts.unknown(
            connection, now - timedelta(seconds=options.older_than), SHOWN_MAX_ATTEMPTS
        )
    if options.look_up and unknown:
        async with context.database.begin() as tx:
            await attempts.look_up(tx, unknown, now)
    for attempt in unknown:
        yield {
            "charge": CHARGE.format(attempt.merchant, attempt.customer, attempt.charge),
            "attempt": attempt.number,
            "key": attempt.idempotency_key,
            "amount_minor": attempt.amount_minor,
            "currency": attempt.currency,
            "since": attempt.start_time,
            "times_looked_up": attempt.lookup_count,
            "next_look_up": now if options.look_up else attempt.next_lookup_time,
            **({"mismatch": attempt.mismatch} if attempt.mismatch else {}),
        }


async def _webhooks(context: CommandContext, _options: argparse.Namespace) -> AsyncIterator[Line]:
    """Show webhooks about what is not known here, or what contradicts the books."""
    async with context.database.read() as connection:
        events = await webhooks.open_events(connection, SHOWN_MAX_WEBHOOKS)
    for event in events:
        yield {
            "webhook": event.event,
            "provider": event.provider,
            "type": event.type,
            "object": event.object,
            "state": event.state.value,
            "since": event.receive_time,
            **({"charge": CHARGE.format(*event[-3:])} if event.charge else {}),
        }


async def _disputes(context: CommandContext, _options: argparse.Namespace) -> AsyncIterator[Line]:
    """Show disputes of payments that payments did not make, or that contradict what was known."""
    async with context.database.read() as connection:
        found = await dispute_lookups.findings(connection, SHOWN_MAX_DISPUTES)
    for lookup in found:
        yield {
            "dispute": lookup.provider_dispute,
            "provider": lookup.provider,
            "finding": lookup.finding,
        }


COMMANDS = {
    "disputes": Command("list disputes that were not understood", _disputes),
    "webhooks": Command("list webhooks that people have to look at", _webhooks),
    "unknown": Command("list charges whose outcome is unknown", _unknown, _arguments),
}
