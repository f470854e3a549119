"""Any history of the books, as PostgreSQL keeps it by the service's own statements."""

import asyncio
import hashlib
import itertools
from collections import Counter
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from services.payments.application.ledger import close_period
from services.payments.clients.stripe import STRIPE
from services.payments.domain.accounts import PROVIDER_CLEARING
from services.payments.domain.keys import CustomerKey, MerchantId
from services.payments.domain.provider_balance import BalanceType, ProviderPayout
from services.payments.domain.reconciliation import Reconciliation, mending
from services.payments.store import charges as charge_store
from services.payments.store import ledger, provider_balance, reconciliation, reports
from services.payments.store import refunds as refund_store
from services.payments.store.reports import TaxKey
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Connection, Database, Pool
from tests.conftest import KEYRING, ServiceDatabase
from tests.owner import as_owner
from tests.unit.payments.strategies import ANN
from tests.unit.payments.test_books import NOW, Books

ROWS_MAX = 1000
INSTANTS = 3
DAY = timedelta(days=1)
FIRST_TAX = TaxKey("", "", 0, "", "")
COMPARED_TYPES = {BalanceType.CHARGE, BalanceType.REFUND, BalanceType.REFUND_FAILURE}
_numbers = itertools.count(1)

# What the provider took is asked of its attempts.
_ATTEMPTS = """
    WITH method AS (
        INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, provider,
                                     brand, last4, create_time)
        VALUES ($1, $2, 'card', '', $3, 'visa', '4242', now())
    )
    INSERT INTO attempts (merchant, customer, charge, number, idempotency_key, amount_minor, currency,
                          payment_method, mandate, permit, start_time, end_time, state)
    SELECT merchant, customer, charge, 1, 'key', amount_minor, currency, 'card', '', 1, now(), now(),
           'SUCCEEDED'
    FROM charges WHERE merchant = $1
"""


class Clock:
    """When the next history begins: days are closed for all merchants."""

    time = NOW


class StoredBooks(Books):
    """The same histories; each is stored once it is over, closed and compared."""

    def __init__(self, url: str) -> None:
        merchant = MerchantId(f"books-{next(_numbers)}")
        super().__init__(CustomerKey(merchant, ANN.customer), Clock.time)
        self.start_time = Clock.time
        self.url = url

    def teardown(self) -> None:
        Clock.time = self.now + 2 * DAY
        asyncio.run(self.live())

    async def live(self) -> None:
        act_for_all("payments")
        database = Database(Pool(self.url, application="test", size=1, keyring=KEYRING))
        try:
            async with database.begin() as tx:
                await self.store(tx)
                await self.has_what_the_model_has(tx)
                reported = await self.reports(tx)
            await self.close(database)
            async with database.begin() as tx:
                await self.has_what_the_model_has(tx)
                assert await self.reports(tx) == reported
                await self.is_the_same_as_the_providers_list(tx)
        finally:
            await database.close()

    async def store(self, tx: Connection) -> None:
        await charge_store.insert(tx, self.charged)
        for refund in self.refunded:
            await refund_store.insert(tx, refund)
        await tx.execute(_ATTEMPTS, *self.customer, STRIPE)
        await ledger.book(tx, self.booked)
        assert len(await provider_balance.insert(tx, STRIPE, self.listed)) == len(self.listed)
        assert await provider_balance.insert(tx, STRIPE, self.listed) == []
        for name, transactions, shares in self.payouts:
            paid_out = ProviderPayout(name, 0, "EUR", self.now)
            await provider_balance.insert_payouts(tx, STRIPE, [paid_out])
            await provider_balance.assign(tx, name, transactions)
            assert await provider_balance.shares(tx, name) == shares

    async def has_what_the_model_has(self, tx: Connection) -> None:
        """At the end, and at instants before."""
        assert await self.balances_at(tx, None) == self.balances()
        moments = sorted({it.book_time for it in self.booked})
        for moment in moments[1 :: max(1, len(moments) // INSTANTS)]:
            before = [it for it in self.booked if it.book_time < moment]
            assert await self.balances_at(tx, moment) == self.balances(before)
        given_back = await ledger.given_back(tx, [charge.key for charge in self.charged])
        for charge in self.charged:
            assert given_back.get(charge.key, Counter()) == self.given_back(charge)

    async def reports(self, tx: Connection) -> list[object]:
        """Of all of it, of all but some hours of the first and last day, and of a day."""
        merchant, hours, end_time = self.customer.merchant, timedelta(hours=5), self.now + DAY
        read: list[object] = []
        for span in (
            (self.start_time, end_time),
            (self.start_time + hours, end_time - hours),
            (self.start_time + hours, self.start_time + DAY - hours),
        ):
            read += [
                await reports.product_sales(tx, merchant, span, ("", ""), ROWS_MAX),
                await reports.tax_summaries(tx, merchant, span, FIRST_TAX, ROWS_MAX),
            ]
        return read

    async def balances_at(
        self, tx: Connection, moment: datetime | None
    ) -> Counter[tuple[str, str]]:
        rows = await ledger.balances(tx, self.customer.merchant, moment, ("", ""), ROWS_MAX)
        return Counter({(it.account, it.currency): it.balance_minor for it in rows})

    async def close(self, database: Database) -> None:
        """All of its days, and the period."""
        last = self.now.date()
        async with database.begin() as tx:
            await ledger.close_days(tx, last)
        async with as_owner(database) as tx:
            await tx.execute("UPDATE ledger_closing SET close_time = '1970-01-01'")
        async with database.begin() as tx:
            await ledger.keep_days(tx, deadline_seconds=30)
            period = (await close_period(tx, self.customer.merchant, last, self.now)).after
        balance = "".join(
            f"{account} {currency} {minor}\n"
            for (account, currency), minor in sorted(self.balances().items())
        )
        assert period.balance_digest == hashlib.sha256(balance.encode()).hexdigest()

    async def is_the_same_as_the_providers_list(self, tx: Connection) -> None:
        """Each movement once; and if the provider takes one again, what is found mends the books."""
        movements = [it for it in self.listed if it.type in COMPARED_TYPES]
        compared = [
            await self.compared(tx, moment) for moment in {it.create_time for it in movements}
        ]
        assert sum(it.matched_count for it in compared) == len(movements)
        assert not any(it.findings for it in compared)
        if not movements:
            return
        again = movements[0]._replace(balance_transaction="txn_again")
        await provider_balance.insert(tx, STRIPE, [again])
        [found] = (await self.compared(tx, again.create_time)).findings
        entry = mending(found, "again", self.now + DAY)
        assert entry is not None
        await ledger.book(tx, [entry])
        assert not (await self.compared(tx, again.create_time)).findings
        key = PROVIDER_CLEARING, again.currency
        held_minor = (await self.balances_at(tx, None))[key] - self.balances()[key]
        assert held_minor == again.amount_minor

    async def compared(self, tx: Connection, moment: datetime) -> Reconciliation:
        return await reconciliation.compare(
            tx, self.customer.merchant, [STRIPE], moment.date(), ("", ""), ROWS_MAX
        )


def test_any_history_balances_closes_and_is_the_same_as_the_providers_list(
    service_database: ServiceDatabase,
) -> None:
    url = service_database("payments")
    run_state_machine_as_test(
        lambda: StoredBooks(url),  # type: ignore[arg-type]  # it takes whatever makes one
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
