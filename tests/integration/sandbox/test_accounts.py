"""Two accounts at the payment provider: each knows only what was asked with its key."""

import json
from typing import Any

import pytest
import stripe
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.integration.sandbox.process import (
    PROVIDER_API_KEY,
    SECOND_API_KEY,
    Sandbox,
    StartSandbox,
    advance,
)

BOTH = (PROVIDER_API_KEY, SECOND_API_KEY)
DAY_SECONDS = 24 * 3600


@pytest.fixture
async def sandbox(start_sandbox: StartSandbox) -> Sandbox:
    return await start_sandbox(
        SANDBOX_SECOND_PROVIDER_API_KEY=SECOND_API_KEY, SANDBOX_EXPECTED_SERVICES=","
    )


async def listed(sandbox: Sandbox, path: str, api_key: str) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await sandbox.provider("GET", path, api_key=api_key)).body["data"]
    return data


async def test_what_an_account_charged_gave_back_and_lost_no_other_sees(sandbox: Sandbox) -> None:
    charged = await sandbox.charge("pm_card_createDispute", api_key=SECOND_API_KEY)
    intent = (await sandbox.charge(api_key=SECOND_API_KEY)).body["id"]
    refund = {"payment_intent": intent}
    foreign = await sandbox.provider("POST", "/refunds", refund)
    assert (foreign.status, foreign.body["error"]["code"]) == (400, "resource_missing")
    own = await sandbox.provider("POST", "/refunds", refund, api_key=SECOND_API_KEY)
    assert own.body["status"] == "succeeded"

    for path, count in (
        ("/payment_intents", 2),
        ("/refunds", 1),
        ("/disputes", 1),
        ("/balance_transactions", 4),
        ("/payment_intents/search?query=status:'succeeded'", 2),
    ):
        counts = [len(await listed(sandbox, path, api_key)) for api_key in BOTH]
        assert counts == [0, count], path
    for path in (f"/payment_intents/{charged.body['id']}", f"/refunds/{own.body['id']}"):
        statuses = [(await sandbox.provider("GET", path, api_key=key)).status for key in BOTH]
        assert statuses == [404, 200], path
    counted = [(await sandbox.ask("GET", f"{path}/record")).body for path in ("", "/second")]
    assert [each["captured_minor"] for each in counted] == [{}, {"eur": 2500}]


@pytest.mark.parametrize(
    ("kind", "status"),
    [("unavailable", 503), ("unauthorized", 401), ("forbidden", 403), ("inactive", 400)],
)
async def test_an_account_is_out_of_order_alone(sandbox: Sandbox, kind: str, status: int) -> None:
    for part, statuses in (("provider-second", [200, status]), ("provider", [status, status])):
        await sandbox.ask("PUT", f"/outages/{part}", json={"on": True, "kind": kind})
        assert [(await sandbox.charge(api_key=key)).status for key in BOTH] == statuses
        await sandbox.ask("PUT", f"/outages/{part}", json={"on": False})
    assert [(await sandbox.charge(api_key=key)).status for key in BOTH] == [200, 200]


async def test_an_idempotency_key_is_an_account_s_own(sandbox: Sandbox) -> None:
    first, again, second = [
        (await sandbox.charge(key="attempt-1", api_key=api_key)).body["id"]
        for api_key in (PROVIDER_API_KEY, PROVIDER_API_KEY, SECOND_API_KEY)
    ]
    assert first == again != second


async def test_no_two_accounts_have_a_payout_of_one_id(sandbox: Sandbox) -> None:
    for api_key in BOTH:
        await sandbox.charge(api_key=api_key)
    await advance(sandbox, 3 * DAY_SECONDS)
    [first], [second] = [await listed(sandbox, "/payouts", api_key) for api_key in BOTH]
    assert first["amount"] == second["amount"]
    assert first["id"] != second["id"]


async def test_an_outage_is_the_provider_s_and_meets_every_account(sandbox: Sandbox) -> None:
    await sandbox.ask("PUT", "/outages/provider", json={"on": True})
    assert [(await sandbox.charge(api_key=api_key)).status for api_key in BOTH] == [503, 503]


async def test_a_key_of_no_account_is_refused(sandbox: Sandbox) -> None:
    assert (await sandbox.charge(api_key="sk_test_of_nobody")).status == 401
    assert (await sandbox.provider("GET", "/no_such_path", api_key=SECOND_API_KEY)).status == 404


async def test_a_customer_confirms_a_payment_of_the_second_account(sandbox: Sandbox) -> None:
    intent = await sandbox.charge(
        "pm_card_authenticationRequired", api_key=SECOND_API_KEY, off_session="false"
    )
    url: str = intent.body["next_action"]["redirect_to_url"]["url"]
    path = url.removeprefix(sandbox.url)
    assert (await sandbox.ask("POST", path, json={"succeeds": True})).body["status"] == "succeeded"


async def test_each_account_sends_its_own_webhooks(start_sandbox: StartSandbox) -> None:
    received: list[tuple[str, str]] = []

    async def receive(request: web.Request) -> web.Response:
        # Each account's secret is the name of its path.
        secret, body = request.match_info["name"], await request.text()
        header = request.headers["Stripe-Signature"]
        assert stripe.WebhookSignature.verify_header(body, header, secret)
        received.append((secret, json.loads(body)["data"]["object"]["id"]))
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/{name}", receive)])
    async with TestServer(app) as server:
        sandbox = await start_sandbox(
            SANDBOX_WEBHOOK_URL=str(server.make_url("/first")),
            SANDBOX_WEBHOOK_SECRET="first",
            SANDBOX_SECOND_PROVIDER_API_KEY=SECOND_API_KEY,
            SANDBOX_SECOND_WEBHOOK_URL=str(server.make_url("/second")),
            SANDBOX_SECOND_WEBHOOK_SECRET="second",
            SANDBOX_EXPECTED_SERVICES=",",
        )
        first, second = [(await sandbox.charge(api_key=key)).body["id"] for key in BOTH]
        await advance(sandbox, 1)
    assert sorted(received) == [("first", first), ("second", second)]


async def test_what_accounts_did_outlives_a_kill(sandbox: Sandbox) -> None:
    intents = [(await sandbox.charge(api_key=api_key)).body["id"] for api_key in BOTH]
    await sandbox.kill_and_restart()
    found = [await listed(sandbox, "/payment_intents", api_key) for api_key in BOTH]
    assert [[intent["id"] for intent in each] for each in found] == [[each] for each in intents]
