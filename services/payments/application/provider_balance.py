"""The provider's balance: read page by page, fees and payouts booked once each.

A time is read as a whole before the next one begins; whatever breaks off is read again. What comes
twice is known by the provider's id.
"""

from collections.abc import Sequence
from functools import partial

from services.payments.clients.provider_balance import Page, ProviderBalance
from services.payments.domain.provider_balance import (
    NOBODY,
    BalanceTransaction,
    ProviderPayout,
    attributed,
    book_fee,
    book_payout,
    payout_state,
)
from services.payments.store import ledger as ledger_store
from services.payments.store import provider_balance as store
from services.payments.store.provider_balance import ListedPayout, Window
from services.runtime.db.pool import Connection, Database
from services.runtime.workers.clock import Clock

DEADLINE_SECONDS = 240.0
# A turn of one replica keeps the others from theirs for so long.
TURN_SECONDS = 30.0
# In one turn, of transactions and of those of payouts together.
PAGES_MAX = 200
PAYOUTS_MAX = 10


async def read(
    database: Database,
    balance: ProviderBalance,
    clock: Clock,
    *,
    turn_seconds: float = TURN_SECONDS,
) -> None:
    """Read what has moved, then what was paid out. Raises ProviderUnreachable; read on next time."""
    async with database.begin(wake_workers=False) as tx:
        window = await store.take_turn(
            tx, balance.name, balance.listing_delay, clock.now(), turn_seconds
        )
    if window is None:
        return
    pages = await _read_window(database, balance, clock, window)
    async with database.read() as connection:
        payouts = await store.listed_payouts(connection, balance.name, PAYOUTS_MAX)
    for payout in payouts:
        pages += await _read_payout(database, balance, clock, payout, PAGES_MAX - pages)


async def _read_window(
    database: Database, balance: ProviderBalance, clock: Clock, window: Window
) -> int:
    for count in range(1, PAGES_MAX + 1):
        page = await balance.transactions(window.since_time, window.until_time, window.after)
        payouts = [] if page.after else await _payouts(balance, window)
        async with database.begin(wake_workers=False) as tx:
            await keep(tx, balance.name, page.items, clock)
            if page.after:
                await store.advance(tx, window, page.after)
            else:
                await store.insert_payouts(tx, balance.name, payouts)
                await store.end_window(tx, window)
        if not page.after:
            return count
        window = window._replace(after=page.after)
    return PAGES_MAX


async def _payouts(balance: ProviderBalance, window: Window) -> list[ProviderPayout]:
    """What was paid out in a time: one a day and currency at the most, as providers have it."""
    found: list[ProviderPayout] = []
    after = ""
    for _ in range(PAGES_MAX):
        page: Page[ProviderPayout] = await balance.payouts(
            window.since_time, window.until_time, after
        )
        found += page.items
        after = page.after
        if not after:
            break
    return found


async def _read_payout(
    database: Database,
    balance: ProviderBalance,
    clock: Clock,
    payout: ListedPayout,
    pages_max: int,
) -> int:
    for count in range(1, pages_max + 1):
        page = await balance.transactions_of(payout.payout, payout.after)
        if page is None:
            return count
        async with database.begin(wake_workers=False) as tx:
            kept = await keep(tx, balance.name, page.items, clock)
            await store.assign(tx, payout.payout, kept)
            if page.after:
                await store.advance_payout(tx, payout, page.after)
            else:
                await _settle(tx, payout.provider_payout, clock)
        if not page.after:
            return count
        payout = payout._replace(after=page.after)
    return pages_max


async def keep(
    tx: Connection, provider: str, transactions: Sequence[BalanceTransaction], clock: Clock
) -> Sequence[BalanceTransaction]:
    """Keep transactions, and book the fees of those that are new and a merchant's; returns all."""
    unnamed = {it.source for it in transactions if it.merchant == NOBODY and it.source}
    owners = await store.owners(tx, unnamed)
    listed = await store.listed_charges(tx, owners.values())
    owned = attributed(transactions, owners, listed)
    new = await store.insert(tx, provider, owned)
    book = partial(book_fee, now=clock.now())
    await ledger_store.book(tx, [book(it) for it in new if it.merchant != NOBODY and it.fee_minor])
    return owned


async def _settle(tx: Connection, payout: ProviderPayout, clock: Clock) -> None:
    """Compare a payout with its transactions, and book each merchant's share of it."""
    shares = await store.shares(tx, payout.payout)
    state, difference_minor = payout_state(payout, shares)
    if not await store.end_payout(tx, payout.payout, state, difference_minor):
        return
    of_merchants = [share for share in shares if share.merchant != NOBODY]
    new = await store.insert_shares(tx, of_merchants, payout.arrive_time)
    await ledger_store.book(
        tx,
        [book_payout(it, payout.arrive_time, clock.now()) for it in new if it.amount_minor],
    )
