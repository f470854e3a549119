"""The comparison of each finished day with the provider's list, and the entries that mend it.

A day is compared once its list was read to the end and nothing is booked on it any more. It is compared
again as long as anything of it is open; what the provider has not listed is read again before. What
breaks off changes nothing that was found.
"""

from datetime import date, datetime, timedelta

from services.payments.application import provider_balance
from services.payments.clients.provider_balance import ProviderBalance
from services.payments.domain.keys import FindingName, MerchantId
from services.payments.domain.reconciliation import RecordedFinding, day_of, mending
from services.payments.store import ledger as ledger_store
from services.payments.store import reconciliation as store
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import not_found, wrong_state
from services.runtime.mutations import Applied
from services.runtime.workers.clock import Clock

DEADLINE_SECONDS = 240.0
# A turn of one replica keeps the others from theirs for so long.
TURN_SECONDS = 30.0
# In one turn.
NEW_DAYS_MAX = 31
OPEN_DAYS_MAX = 3
# Of a day that is read again.
PAGES_MAX = 2000
# In one transaction.
MERCHANTS_MAX = 50


async def reconcile(
    database: Database,
    balance: ProviderBalance,
    clock: Clock,
    *,
    turn_seconds: float = TURN_SECONDS,
) -> None:
    """Compare days that are finished, then those of which something is open.

    Raises ProviderUnreachable; go on next time.
    """
    async with database.begin(wake_workers=False) as tx:
        turn = await store.take_turn(tx, balance.name, turn_seconds)
        if turn is None:
            return
        first_date = await store.first_date(tx)
        open_days = await store.open_days(tx, balance.name, OPEN_DAYS_MAX)
    if first_date is not None:
        day = max(first_date, turn.compared_through_date + timedelta(days=1))
        last = min(turn.comparable_through_date, day + timedelta(days=NEW_DAYS_MAX - 1))
        while day <= last:
            await _record(database, balance.name, day, clock)
            async with database.begin(wake_workers=False) as tx:
                await store.advance(tx, balance.name, day)
            day += timedelta(days=1)
    for open_day in open_days:
        if open_day.is_unlisted:
            await _read_again(database, balance, clock, open_day.compare_date)
        await _record(database, balance.name, open_day.compare_date, clock)


async def _record(database: Database, provider: str, day: date, clock: Clock) -> None:
    after = MerchantId("")
    while True:
        async with database.begin(wake_workers=False) as tx:
            merchants = await store.merchants_of(tx, day, after, MERCHANTS_MAX)
            await store.record(tx, merchants, provider, day, clock.now())
        if len(merchants) < MERCHANTS_MAX:
            return
        after = merchants[-1]


async def _read_again(
    database: Database, balance: ProviderBalance, clock: Clock, day: date
) -> None:
    since, until = day_of(day)
    after = ""
    for _ in range(PAGES_MAX):
        page = await balance.transactions(since, until, after)
        async with database.begin(wake_workers=False) as tx:
            await provider_balance.keep(tx, balance.name, page.items, clock)
        after = page.after
        if not after:
            return


async def apply_entry(
    tx: Connection, key: FindingName, account: str, now: datetime
) -> Applied[RecordedFinding]:
    """Book the entry that a finding proposes, once it was compared once more; against an account.

    Raises NOT_FOUND RECONCILIATION_FINDING_NOT_FOUND, FAILED_PRECONDITION RECONCILIATION_FINDING_STATE.
    """
    before = await store.locked(tx, key)
    if before is None:
        raise not_found("RECONCILIATION_FINDING_NOT_FOUND", key.name)
    await store.record(tx, [key.merchant], before.provider, before.compare_date, now)
    checked = await store.locked(tx, key)
    entry = mending(checked.found, checked.finding, now, account) if checked else None
    if checked is None or checked.resolve_time is not None or entry is None:
        raise wrong_state(
            "RECONCILIATION_FINDING_STATE",
            f"{key.name} is resolved, or proposes no entry: list the findings again",
        )
    await ledger_store.book(tx, [entry])
    await store.set_applied(tx, key, now)
    return Applied(checked._replace(resolve_time=now, apply_time=now), checked)
