"""The provider's balance, as a merchant's program and the official library meet it."""

import asyncio
from typing import Any

import stripe

from tests.integration.sandbox.process import PROVIDER_API_KEY, Sandbox, StartSandbox

DAY_SECONDS = 24 * 3600


async def listed(sandbox: Sandbox, query: str = "") -> list[dict[str, Any]]:
    answer = await sandbox.provider("GET", f"/balance_transactions?{query}")
    return list(answer.body["data"])


async def advance(sandbox: Sandbox, seconds: int) -> None:
    async with sandbox.http.post(f"{sandbox.url}/clock/advance", json={"seconds": seconds}) as done:
        await done.read()


async def test_a_charge_costs_a_fee_and_a_refund_none(sandbox: Sandbox) -> None:
    paid = await sandbox.charge("pm_card_visa", key="1")
    await sandbox.charge("pm_card_chargeDeclined", key="2")
    form = {"payment_intent": paid.body["id"], "amount": "250"}
    await sandbox.provider("POST", "/refunds", form=form)
    moved = [(it["type"], it["amount"], it["fee"], it["net"]) for it in await listed(sandbox)]
    assert moved == [("refund", -250, 0, -250), ("charge", 1250, 43, 1207)]


async def test_a_transaction_says_whose_it_is(sandbox: Sandbox) -> None:
    paid = await sandbox.charge("pm_card_createDispute", key="1")
    query = "expand[]=data.source&expand[]=data.source.payment_intent"
    dispute, charge = (it["source"] for it in await listed(sandbox, query))
    assert (charge["object"], charge["metadata"]) == ("charge", paid.body["metadata"])
    assert dispute["payment_intent"]["metadata"] == paid.body["metadata"]


async def test_what_a_day_brought_is_paid_out_to_the_cent(start_sandbox: StartSandbox) -> None:
    sandbox = await start_sandbox(SANDBOX_EXPECTED_SERVICES=",")
    for number in range(3):
        await sandbox.charge("pm_card_visa", key=str(number))
    await advance(sandbox, DAY_SECONDS)
    assert (await sandbox.provider("GET", "/payouts")).body["data"] == []
    await advance(sandbox, DAY_SECONDS)
    [payout] = (await sandbox.provider("GET", "/payouts")).body["data"]
    assert payout["amount"] == 3 * 1207
    inside = await listed(sandbox, f"payout={payout['id']}")
    assert [it["net"] for it in inside] == [-3 * 1207, 1207, 1207, 1207]
    await advance(sandbox, 5 * DAY_SECONDS)
    assert len((await sandbox.provider("GET", "/payouts")).body["data"]) == 1


async def test_the_official_library_reads_all_pages(sandbox: Sandbox) -> None:
    for number in range(3):
        await sandbox.charge("pm_card_visa", key=str(number))
    client = stripe.StripeClient(
        PROVIDER_API_KEY, base_addresses={"api": sandbox.url}, max_network_retries=0
    )

    def read() -> list[int]:
        pages = client.v1.balance_transactions.list({"limit": 2})
        return [transaction.net for transaction in pages.auto_paging_iter()]

    assert await asyncio.to_thread(read) == [1207] * 3
