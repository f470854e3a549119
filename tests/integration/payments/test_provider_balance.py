"""What the provider keeps and pays out is booked once each, and matched to the cent."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from recurring.payments.v1 import payments_pb2

from services.payments.application import provider_balance
from services.payments.clients.provider import ProviderUnreachable
from services.payments.clients.provider_balance import Page, ProviderBalance
from services.payments.clients.stripe_balance import StripeBalance
from services.payments.domain.provider_balance import BalanceTransaction
from services.runtime.auth.call_context import act_for_all
from services.runtime.http_client import HttpClient
from services.runtime.rpc.conversions import to_date, to_money
from tests.integration.payments.suite import AMOUNT_MINOR, CHARGE, ORDER, Payments
from tests.integration.sandbox.process import PROVIDER_API_KEY

FEE_MINOR = 43


@pytest.fixture
async def balance(payments: Payments) -> AsyncIterator[StripeBalance]:
    async with HttpClient(connections_max=2, timeout_seconds=10) as http:
        yield StripeBalance(http, payments.sandbox.url, PROVIDER_API_KEY)


async def days_pass(payments: Payments, days: int) -> None:
    """At the provider, and here until the same instant."""
    sandbox = payments.sandbox
    advance = f"{sandbox.url}/clock/advance"
    async with sandbox.http.post(advance, json={"seconds": days * 86_400}) as done:
        await done.read()
    now = datetime.fromisoformat((await sandbox.ask("GET", "/clock")).body["now"])
    await payments.pass_time(now - payments.clock.now())


async def read(payments: Payments, balance: ProviderBalance) -> None:
    act_for_all("payments")
    await provider_balance.read(payments.database, balance, payments.clock, turn_seconds=0)


async def payouts(payments: Payments) -> list[tuple[str, int]]:
    """What became of each payout, and by how much it is not explained."""
    act_for_all("payments")
    found = await payments.rows("SELECT state, difference_minor FROM provider_payouts")
    return [(str(state), int(difference_minor)) for state, difference_minor in found]


@pytest.fixture
async def paid(payments: Payments) -> Payments:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    return payments


async def test_a_fee_is_booked_once_however_often_it_is_read(
    paid: Payments, balance: StripeBalance
) -> None:
    await paid.refund("part", 250)
    await paid.work()
    await days_pass(paid, 1)
    for _ in range(2):
        await read(paid, balance)
    # As if nothing had been read before.
    async with paid.database.begin() as tx:
        await tx.execute("UPDATE balance_reading SET since_time = '1970-01-01'")
    await read(paid, balance)

    balances = await paid.balances()
    assert balances["fees"] == FEE_MINOR
    assert balances["provider-clearing"] == AMOUNT_MINOR - 250 - FEE_MINOR
    assert await paid.rows("SELECT source, type FROM balance_transactions ORDER BY type") == [
        (CHARGE, "CHARGE"),
        (f"{CHARGE}/refunds/part", "REFUND"),
    ]


async def test_a_payout_is_matched_and_empties_what_the_provider_holds(
    paid: Payments, balance: StripeBalance
) -> None:
    await paid.refund("part", 250)
    await paid.work()
    await days_pass(paid, 3)
    for _ in range(2):
        await read(paid, balance)

    left_minor = AMOUNT_MINOR - 250 - FEE_MINOR
    balances = await paid.balances()
    assert (balances["bank"], balances["provider-clearing"]) == (left_minor, 0)
    assert await paid.rows(
        "SELECT charges_minor, refunds_minor, fees_minor, transaction_count, amount_minor"
        " FROM payouts"
    ) == [(AMOUNT_MINOR, -250, FEE_MINOR, 2, left_minor)]
    assert await payouts(paid) == [("MATCHED", 0)]


async def test_money_of_others_on_the_same_account_is_nobodys(
    paid: Payments, balance: StripeBalance
) -> None:
    await paid.sandbox.charge("pm_card_visa", key="another shop's")
    await days_pass(paid, 3)
    await read(paid, balance)
    assert (await paid.balances())["bank"] == AMOUNT_MINOR - FEE_MINOR
    assert await payouts(paid) == [("MATCHED", 0)]
    assert await paid.rows("SELECT merchant, transaction_count FROM payouts") == [("acme", 1)]


class BrokenOff:
    """A balance whose list of a payout ends in the middle, or leaves the charge out."""

    def __init__(self, balance: StripeBalance, *, breaks: bool) -> None:
        self.name, self.listing_delay = balance.name, balance.listing_delay
        self._balance = balance
        self._breaks = breaks
        self.transactions = balance.transactions
        self.payouts = balance.payouts

    async def transactions_of(self, payout: str, after: str) -> Page[BalanceTransaction]:
        if self._breaks:
            raise ProviderUnreachable("broken off")
        page = await self._balance.transactions_of(payout, after)
        assert page is not None
        return Page(page.items[1:], page.after)


async def test_a_list_that_breaks_off_books_no_payout_and_is_read_again(
    paid: Payments, balance: StripeBalance
) -> None:
    await days_pass(paid, 3)
    with pytest.raises(ProviderUnreachable):
        await read(paid, BrokenOff(balance, breaks=True))
    assert "bank" not in await paid.balances()
    await read(paid, balance)
    assert (await paid.balances())["bank"] == AMOUNT_MINOR - FEE_MINOR


async def test_a_payout_whose_transactions_the_provider_still_gathers_is_not_booked_yet(
    paid: Payments, balance: StripeBalance
) -> None:
    gathering = {"payouts_gathered_after_seconds": 3 * 86_400}
    await paid.sandbox.ask("PUT", "/provider/behavior", json=gathering)
    await days_pass(paid, 3)
    await read(paid, balance)
    assert await payouts(paid) == [("LISTED", 0)]
    await days_pass(paid, 3)
    await read(paid, balance)
    assert await payouts(paid) == [("MATCHED", 0)]
    assert (await paid.balances())["bank"] == AMOUNT_MINOR - FEE_MINOR


async def test_a_payout_that_its_transactions_do_not_explain_is_found(
    paid: Payments, balance: StripeBalance
) -> None:
    await days_pass(paid, 3)
    await read(paid, BrokenOff(balance, breaks=False))
    assert await payouts(paid) == [("MISMATCHED", AMOUNT_MINOR - FEE_MINOR)]
    assert "bank" not in await paid.balances()


async def test_a_payout_that_is_read_again_once_its_list_is_complete_adds_up(
    paid: Payments, balance: StripeBalance
) -> None:
    await days_pass(paid, 3)
    await read(paid, BrokenOff(balance, breaks=False))
    act_for_all("payments")
    # As the runbook says.
    async with paid.database.begin() as tx:
        await tx.execute(
            "UPDATE provider_payouts SET state = 'LISTED', difference_minor = 0"
            " WHERE state = 'MISMATCHED'"
        )
    await read(paid, balance)
    assert await payouts(paid) == [("MATCHED", 0)]
    assert (await paid.balances())["bank"] == AMOUNT_MINOR - FEE_MINOR


# --- the comparison of a day ------------------------------------------------------------------------


async def reconciled(
    payments: Payments, days_ago: int
) -> payments_pb2.PreviewReconciliationResponse:
    """The comparison of the day so long ago."""
    day = to_date(payments.clock.now().date() - timedelta(days=days_ago))
    request = payments_pb2.PreviewReconciliationRequest(parent="merchants/acme", date=day)
    answer: payments_pb2.PreviewReconciliationResponse = await payments.call(request)
    return answer


def kinds(answer: payments_pb2.PreviewReconciliationResponse) -> list[tuple[str, str]]:
    name = payments_pb2.ReconciliationFinding.Kind.Name
    return [(name(found.kind), found.source) for found in answer.findings]


@pytest.fixture
async def today(payments: Payments) -> Payments:
    """A charge and a refund, at the provider's time and ours, which are the same."""
    await days_pass(payments, 1)
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.refund("part", 250)
    await payments.work()
    return payments


async def test_a_day_that_agrees_is_matched(today: Payments, balance: StripeBalance) -> None:
    await days_pass(today, 1)
    await read(today, balance)
    answer = await reconciled(today, days_ago=1)
    assert (answer.matched_count, kinds(answer)) == (2, [])
    await days_pass(today, 1)
    await read(today, balance)
    assert (await reconciled(today, days_ago=2)).complete


async def test_what_the_provider_has_not_listed_is_missing_there(today: Payments) -> None:
    answer = await reconciled(today, days_ago=0)
    assert not answer.complete
    assert kinds(answer) == [
        ("MISSING_AT_PROVIDER", CHARGE),
        ("MISSING_AT_PROVIDER", f"{CHARGE}/refunds/part"),
    ]
    assert answer.findings[0].booked_amount.units == AMOUNT_MINOR // 100
    assert not answer.findings[0].HasField("provider_amount")


@pytest.mark.parametrize(
    ("row", "finding"),
    [
        ((CHARGE, "CHARGE", 1250), ("DUPLICATE", CHARGE)),
        ((f"{CHARGE}0", "CHARGE", 1250), ("MISSING_HERE", f"{CHARGE}0")),
        (
            (f"{CHARGE}/refunds/part", "REFUND_FAILURE", 250),
            ("DIFFERENT_STATE", f"{CHARGE}/refunds/part"),
        ),
    ],
)
async def test_a_row_too_many_is_found(
    today: Payments, balance: StripeBalance, row: tuple[str, str, int], finding: tuple[str, str]
) -> None:
    await days_pass(today, 1)
    await read(today, balance)
    act_for_all("payments")
    async with today.database.begin() as tx:
        await tx.execute(
            """
                INSERT INTO balance_transactions (provider, merchant, customer, source,
                                                  balance_transaction, type, amount_minor,
                                                  fee_minor, currency, create_time)
                VALUES ('stripe', 'acme', 'ann', $1, 'txn_2', $2, $3, 0, 'EUR', $4)
            """,
            *row,
            today.clock.now() - timedelta(days=1),
        )
    assert kinds(await reconciled(today, days_ago=1)) == [finding]


async def test_another_amount_is_found_on_both_sides(
    today: Payments, balance: StripeBalance
) -> None:
    await days_pass(today, 1)
    await read(today, balance)
    act_for_all("payments")
    async with today.database.begin() as tx:
        await tx.execute(
            "UPDATE balance_transactions SET amount_minor = amount_minor + 1 WHERE type = 'CHARGE'"
        )
    answer = await reconciled(today, days_ago=1)
    assert kinds(answer) == [("DIFFERENT_AMOUNT", CHARGE)]
    [found] = answer.findings
    assert found.provider_amount.nanos - found.booked_amount.nanos == 10_000_000


async def test_payouts_are_listed_the_latest_first(paid: Payments, balance: StripeBalance) -> None:
    await days_pass(paid, 3)
    await read(paid, balance)
    answer = await paid.call(payments_pb2.ListPayoutsRequest(parent="merchants/acme"))
    [payout] = answer.payouts
    assert await paid.call(payments_pb2.GetPayoutRequest(name=payout.name)) == payout
    assert payout.charge_amount == to_money(AMOUNT_MINOR, "EUR")
    assert payout.fee_amount == to_money(FEE_MINOR, "EUR")
    assert payout.amount == to_money(AMOUNT_MINOR - FEE_MINOR, "EUR")
    assert answer.next_page_token == ""


async def test_payouts_are_read_to_their_end_page_by_page(
    paid: Payments, balance: StripeBalance
) -> None:
    await days_pass(paid, 3)
    second = f"{ORDER.rpartition('/')[0]}/2"
    await paid.announce(paid.notice(second))
    await paid.fall_due(paid.due(second))
    await paid.work()
    await days_pass(paid, 3)
    await read(paid, balance)
    request = payments_pb2.ListPayoutsRequest(parent="merchants/acme", page_size=1)
    first = await paid.call(request)
    request.page_token = first.next_page_token
    last = await paid.call(request)
    assert last.next_page_token == ""
    arrivals = [page.payouts[0].arrive_time.seconds for page in (first, last)]
    assert arrivals == sorted(arrivals, reverse=True)
    assert first.payouts[0].name != last.payouts[0].name
