"""What banks brought, took back and cost is in the provider's payouts, and matched to the cent."""

from collections.abc import AsyncIterator

import pytest

from services.payments.application import ledger, provider_balance, reconciliation
from services.payments.clients.bank_debit_api import BANK_DEBIT, bank_debit_api
from services.payments.clients.bank_debit_balance import BankDebitBalance
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.statements import Command
from services.runtime.http_client import HttpClient
from tests.integration.payments.suite import AMOUNT_MINOR, CHARGE, Payments, order
from tests.integration.payments.test_bank_debits import SEPA, TOKEN, begin, payments
from tests.integration.payments.test_disputes import find_disputes
from tests.integration.payments.test_provider_balance import days_pass, payouts

__all__ = ["payments"]

# 1 % and 20 cents are 32.5 cents.
FEE_MINOR = 32


@pytest.fixture
async def balance(payments: Payments) -> AsyncIterator[BankDebitBalance]:
    async with HttpClient(connections_max=2, timeout_seconds=10) as http:
        yield BankDebitBalance(bank_debit_api(http, f"{payments.sandbox.url}/bank", TOKEN))


async def read(payments: Payments, balance: BankDebitBalance) -> None:
    act_for_all("payments")
    await provider_balance.read(payments.database, balance, payments.clock, turn_seconds=0)


async def shares(payments: Payments) -> list[tuple[int, ...]]:
    return await payments.rows(
        "SELECT charges_minor, refunds_minor, disputes_minor, fees_minor, amount_minor"
        " FROM payouts ORDER BY arrive_time"
    )


async def test_a_payout_of_bank_debits_is_matched_with_what_it_cost(
    payments: Payments, balance: BankDebitBalance
) -> None:
    await begin(payments, SEPA)
    await days_pass(payments, 9)
    for _ in range(2):
        await read(payments, balance)
    assert await payouts(payments) == [("MATCHED", 0)]
    left_minor = AMOUNT_MINOR - FEE_MINOR
    assert await shares(payments) == [(AMOUNT_MINOR, 0, 0, FEE_MINOR, left_minor)]
    balances = await payments.balances()
    assert (balances["bank"], balances["fees"]) == (left_minor, FEE_MINOR)
    assert balances["provider-clearing"] == 0
    assert await payments.rows("SELECT source, type FROM balance_transactions ORDER BY type") == [
        (CHARGE, "CHARGE"),
        (CHARGE, "OTHER"),
    ]


async def test_a_refund_is_kept_from_a_payout(
    payments: Payments, balance: BankDebitBalance
) -> None:
    await begin(payments, SEPA)
    # It is confirmed, and not paid out yet.
    await days_pass(payments, 5)
    await payments.refund("part", 250)
    await payments.work()
    await days_pass(payments, 5)
    await read(payments, balance)
    assert {state for state, _ in await payouts(payments)} == {"MATCHED"}
    assert sum(it[1] for it in await shares(payments)) == -250
    balances = await payments.balances()
    assert balances["bank"] == AMOUNT_MINOR - 250 - FEE_MINOR
    assert balances["provider-clearing"] == 0


async def test_a_chargeback_gives_its_fee_back_and_one_that_is_cancelled_is_paid_again(
    payments: Payments, balance: BankDebitBalance
) -> None:
    await begin(payments, "MD_sandbox_chargebackCancelled")
    await days_pass(payments, 19)
    # Nothing is paid out until there is something to pay again.
    await payments.announce(payments.notice(order(2)))
    await payments.fall_due(payments.due(order(2)))
    await payments.work()
    await days_pass(payments, 9)
    await find_disputes(payments)
    await read(payments, balance)
    assert {state for state, _ in await payouts(payments)} == {"MATCHED"}
    types = await payments.rows(
        "SELECT type, sum(amount_minor)::int FROM balance_transactions GROUP BY 1 ORDER BY 1"
    )
    assert types == [
        ("CHARGE", 2 * AMOUNT_MINOR),
        ("DISPUTE", -AMOUNT_MINOR),
        ("DISPUTE_REVERSAL", AMOUNT_MINOR),
        ("OTHER", 0),
    ]
    assert (await payments.balances())["provider-clearing"] == 0


async def reconcile(payments: Payments, balance: BankDebitBalance) -> None:
    act_for_all("payments")
    for _ in range(2):
        await ledger.close_days(payments.database, payments.clock)
        async with payments.database.begin() as tx:
            await Command("UPDATE ledger_closing SET close_time = '1970-01-01'").run(tx)
    await reconciliation.reconcile(payments.database, balance, payments.clock, turn_seconds=0)


async def test_a_day_of_bank_debits_is_compared_once_its_payouts_are_there(
    payments: Payments, balance: BankDebitBalance
) -> None:
    await begin(payments, SEPA)
    await days_pass(payments, 12)
    await read(payments, balance)
    await reconcile(payments, balance)
    compared = "SELECT compared_through_date::text FROM balance_reading"
    assert await payments.rows(compared) == [("1970-01-01",)]
    await days_pass(payments, 14)
    await read(payments, balance)
    await reconcile(payments, balance)
    [(through,)] = await payments.rows(compared)
    assert through > "2026-02"
    assert await payments.rows("SELECT kind FROM reconciliation_findings") == []


async def test_a_bank_debit_that_no_payout_brought_is_found(
    payments: Payments, balance: BankDebitBalance
) -> None:
    await begin(payments, SEPA)
    await days_pass(payments, 26)
    await read(payments, balance)
    async with payments.database.begin() as tx:
        await tx.execute("UPDATE balance_transactions SET type = 'OTHER' WHERE type = 'CHARGE'")
    await reconcile(payments, balance)
    assert await payments.rows("SELECT kind, source, provider FROM reconciliation_findings") == [
        ("MISSING_AT_PROVIDER", CHARGE, BANK_DEBIT)
    ]
