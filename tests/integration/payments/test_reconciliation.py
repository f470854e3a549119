"""Finished days are compared with the provider's list, whatever that says, and mended when asked."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from recurring.payments.v1 import payments_pb2

from services.payments.application import ledger, provider_balance, reconciliation
from services.payments.clients.provider import ProviderUnreachable
from services.payments.clients.provider_balance import Page, ProviderBalance
from services.payments.clients.stripe_balance import StripeBalance
from services.payments.domain.provider_balance import BalanceTransaction
from services.runtime.auth.call_context import act_for_all
from services.runtime.errors import Problem
from services.runtime.http_client import HttpClient
from tests.integration.payments.suite import AMOUNT_MINOR, CHARGE, NOW, Payments
from tests.integration.payments.test_provider_balance import days_pass
from tests.integration.sandbox.process import PROVIDER_API_KEY

REFUND = f"{CHARGE}/refunds/part"
# The provider has a row too many, too few, or another amount.
Account = payments_pb2.ApplyReconciliationEntryRequest.Account
FALSE_LISTS = [
    ({"balance_list_drops": 1}, [("MISSING_AT_PROVIDER", CHARGE)], -AMOUNT_MINOR, "WRITE_OFFS"),
    ({"balance_list_repeats": 1}, [("DUPLICATE", CHARGE)], AMOUNT_MINOR, "SUSPENSE"),
    ({"balance_list_changes": 1}, [("DIFFERENT_AMOUNT", CHARGE)], 1, "ROUNDING"),
    ({"balance_list_ends_after": 1}, [("MISSING_AT_PROVIDER", CHARGE)], -AMOUNT_MINOR, "SUSPENSE"),
]


@pytest.fixture
async def balance(payments: Payments) -> AsyncIterator[StripeBalance]:
    async with HttpClient(connections_max=2, timeout_seconds=10) as http:
        yield StripeBalance(http, payments.sandbox.url, PROVIDER_API_KEY)


async def behave(payments: Payments, **seconds: int | None) -> None:
    await payments.sandbox.ask("PUT", "/provider/behavior", json=seconds)


async def compare(payments: Payments, balance: ProviderBalance) -> None:
    """What the service does at intervals, as often as it takes."""
    act_for_all("payments")
    for _ in range(2):
        await ledger.close_days(payments.database, payments.clock)
        async with payments.database.begin() as tx:
            await tx.execute("UPDATE ledger_closing SET close_time = now() - interval '61 seconds'")
    await provider_balance.read(payments.database, balance, payments.clock, turn_seconds=0)
    await reconciliation.reconcile(payments.database, balance, payments.clock, turn_seconds=0)


@pytest.fixture
async def paid(payments: Payments) -> Payments:
    """A charge and a refund of a day that is over, and is not paid out yet."""
    await days_pass(payments, 1)
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.refund("part", 250)
    await payments.work()
    await days_pass(payments, 1)
    return payments


async def findings(
    payments: Payments, *, resolved: bool = False
) -> list[payments_pb2.ReconciliationFinding]:
    request = payments_pb2.ListReconciliationFindingsRequest(
        parent="merchants/acme", show_resolved=resolved
    )
    return list((await payments.call(request)).findings)


def kinds(found: list[payments_pb2.ReconciliationFinding]) -> list[tuple[str, str]]:
    name = payments_pb2.ReconciliationFinding.Kind.Name
    return [(name(each.kind), each.source) for each in found]


async def mend(
    payments: Payments, name: str, account: str = "ACCOUNT_UNSPECIFIED"
) -> payments_pb2.ReconciliationFinding:
    mended: payments_pb2.ReconciliationFinding = await payments.call(
        payments_pb2.ApplyReconciliationEntryRequest(name=name, account=Account.Value(account))
    )
    return mended


async def test_a_true_list_leaves_nothing_open(paid: Payments, balance: StripeBalance) -> None:
    await compare(paid, balance)
    assert await findings(paid, resolved=True) == []
    [(through,)] = await paid.rows("SELECT compared_through_date FROM balance_reading")
    assert through == paid.clock.now().date() - timedelta(days=1)


async def test_a_debit_that_its_bank_sent_back_before_the_order_was_paid_is_no_payment(
    paid: Payments, balance: StripeBalance
) -> None:
    await behave(paid, balance_list_returned_debits=1)
    await compare(paid, balance)
    assert kinds(await findings(paid, resolved=True)) == []


@pytest.mark.parametrize(("false", "expected", "difference_minor", "account"), FALSE_LISTS, ids=str)
async def test_a_false_list_is_found_once_and_mended_once_when_asked(
    paid: Payments,
    balance: StripeBalance,
    false: dict[str, int],
    expected: list[tuple[str, str]],
    difference_minor: int,
    account: str,
) -> None:
    await behave(paid, **false)
    await compare(paid, balance)
    found = await findings(paid)
    assert kinds(found) == expected
    find_time = found[0].find_time
    paid.clock.move(timedelta(hours=1))
    await compare(paid, balance)
    assert [each.find_time for each in await findings(paid)] == [find_time]

    before = (await paid.balances())["provider-clearing"]
    mended = await mend(paid, found[0].name, account)
    assert mended.apply_time == mended.resolve_time
    balances = await paid.balances()
    assert balances["provider-clearing"] - before == difference_minor
    assert balances[account.lower().replace("_", "-")] == -difference_minor
    with pytest.raises(Problem) as again:
        await mend(paid, found[0].name)
    assert again.value.reason == "RECONCILIATION_FINDING_STATE"
    await compare(paid, balance)
    assert await findings(paid) == []
    [(audited,)] = await paid.rows(
        "SELECT count(*) FROM audit_entries WHERE method LIKE '%ApplyReconciliationEntry'"
    )
    assert audited == 1


async def test_what_is_listed_later_is_resolved_by_itself(
    paid: Payments, balance: StripeBalance
) -> None:
    await behave(paid, balance_list_drops=1)
    await compare(paid, balance)
    await behave(paid, balance_list_drops=None)
    await compare(paid, balance)
    assert await findings(paid) == []
    [resolved] = await findings(paid, resolved=True)
    assert resolved.HasField("resolve_time")
    assert not resolved.HasField("apply_time")
    assert "suspense" not in await paid.balances()


async def test_what_is_mended_and_listed_after_all_is_mended_back(
    paid: Payments, balance: StripeBalance
) -> None:
    await behave(paid, balance_list_drops=1)
    await compare(paid, balance)
    [found] = await findings(paid)
    await mend(paid, found.name)
    await behave(paid, balance_list_drops=None)
    act_for_all("payments")
    async with paid.database.begin() as tx:
        await tx.execute(
            "UPDATE balance_reading SET since_time = '1970-01-01',"
            " compared_through_date = '1970-01-01'"
        )
    await compare(paid, balance)
    [opposite] = await findings(paid)
    await mend(paid, opposite.name)
    assert (await paid.balances())["suspense"] == 0


async def test_what_the_provider_converts_is_compared_as_it_was_charged(
    paid: Payments, balance: StripeBalance
) -> None:
    await behave(paid, balance_settled_in_usd_at_thousandths=1087)
    await compare(paid, balance)

    assert await findings(paid) == []
    listed = "SELECT type, amount_minor, currency, converted_minor, converted_currency FROM"
    assert await paid.rows(f"{listed} balance_transactions ORDER BY type") == [
        ("CHARGE", AMOUNT_MINOR * 1087 // 1000, "USD", AMOUNT_MINOR, "EUR"),
        ("REFUND", -(250 * 1087 // 1000), "USD", -250, "EUR"),
    ]


async def test_what_others_charge_in_an_unknown_currency_does_not_hold_the_list_up() -> None:
    source = {"id": "ch_1", "amount": 900, "currency": "usdc", "metadata": {}}
    listed = {
        "id": "txn_1", "amount": 1000, "currency": "usd", "fee": 30, "created": 1_800_000_000,
        "exchange_rate": 1.1, "reporting_category": "charge", "type": "charge", "source": source,
    }  # fmt: skip

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [listed], "has_more": False})

    app = web.Application()
    app.router.add_get("/v1/balance_transactions", answer)
    async with (
        TestServer(app) as server,
        HttpClient(connections_max=1, timeout_seconds=10) as http,
    ):
        balance = StripeBalance(http, str(server.make_url("")), PROVIDER_API_KEY)
        [shown] = (await balance.transactions(NOW, NOW, "")).items
    assert (shown.amount_minor, shown.currency, shown.converted_minor) == (1000, "USD", None)


class Unreachable:
    """A balance that breaks off after its first page of a day that is read again."""

    def __init__(self, balance: StripeBalance) -> None:
        self.name, self.listing_delay = balance.name, balance.listing_delay
        self.transactions_of = balance.transactions_of
        self.payouts = balance.payouts

    async def transactions(
        self, since: datetime, until: datetime, after: str
    ) -> Page[BalanceTransaction]:
        raise ProviderUnreachable(f"broken off from {since} to {until} after {after!r}")


async def test_a_list_that_breaks_off_leaves_what_was_found(
    paid: Payments, balance: StripeBalance
) -> None:
    await behave(paid, balance_list_drops=1)
    await compare(paid, balance)
    found = await findings(paid)
    act_for_all("payments")
    with pytest.raises(ProviderUnreachable):
        await reconciliation.reconcile(
            paid.database,
            Unreachable(balance),
            paid.clock,
            turn_seconds=0,
        )
    assert await findings(paid) == found
