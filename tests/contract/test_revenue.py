"""When what was sold is revenue: the merchant's choice, from the next charge on."""

from datetime import timedelta

from recurring.payments.v1 import payments_pb2

from services.runtime.rpc.conversions import NANOS_PER_UNIT, from_date
from tests.contract.customer import NOTICE_LEAD, TEA_CENTS, Customer, new_customer
from tests.contract.every_call import Call, platform_calls, suite_calls
from tests.suite import Suite, new_id

DUE = NOTICE_LEAD + timedelta(days=3)
LedgerSettings = payments_pb2.LedgerSettings


def calls_of(ann: Customer) -> dict[str, Call]:
    merchant = ann.shop.merchant
    return {call.method: call for call in (*platform_calls(merchant), *suite_calls(merchant))}


async def cents(ann: Customer) -> dict[str, int]:
    """What each account has, but for its sign, in cents."""
    answer = await calls_of(ann)["ListLedgerAccounts"].make(ann.shop)
    return {
        account.name.rpartition("/")[2]: -(
            account.balance.units * 100 + account.balance.nanos * 100 // NANOS_PER_UNIT
        )
        for account in answer.ledger_accounts
    }


async def test_the_choice_holds_from_the_next_charge_on_and_days_become_revenue(
    suite: Suite,
) -> None:
    ann = await new_customer(suite)
    calls = calls_of(ann)
    before = await calls["GetLedgerSettings"].make(ann.shop)
    assert before.revenue_recognition == LedgerSettings.ON_CHARGE
    change = calls["UpdateLedgerSettings"]
    change.request.request_id = new_id()
    made = await change.make(ann.shop)
    assert await change.make(ann.shop) == made
    assert made.revenue_recognition == LedgerSettings.OVER_PERIOD
    assert await calls["GetLedgerSettings"].make(ann.shop) == made

    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await suite.advance(DUE)
    charge = await calls["GetCharge"].make(ann.shop)
    start, end = from_date(charge.period_start_date), from_date(charge.period_end_date)
    assert end - start == timedelta(days=6)

    sold_cents = 2 * TEA_CENTS
    now = await cents(ann)
    assert 0 < now["deferred-revenue"] < sold_cents
    assert now["deferred-revenue"] + now["revenue"] == sold_cents
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())
    await suite.advance(timedelta(days=8))
    over = await cents(ann)
    assert (over["deferred-revenue"], over["revenue"]) == (0, sold_cents)
