"""An account of the provider that is out of order: its charges wait, and go on by themselves."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.payments.clients import stripe_api
from services.payments.clients.stripe import StripeProvider
from services.runtime.http_client import HttpClient
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    BOB,
    Payments,
    State,
    charge_name,
    order,
)
from tests.integration.payments.test_stripe_accounts import choose
from tests.integration.payments.test_stripe_accounts import payments as two_accounts

KINDS = ["unavailable", "unauthorized", "forbidden", "inactive"]
HOUR = timedelta(hours=1)

payments = two_accounts


async def switch(payments: Payments, part: str, kind: str | None) -> None:
    body = {"on": kind is not None} | ({} if kind is None else {"kind": kind})
    await payments.sandbox.ask("PUT", f"/outages/{part}", json=body)


@pytest.mark.parametrize("kind", KINDS)
async def test_charges_of_an_account_that_is_out_of_order_wait_alone(
    payments: Payments, kind: str
) -> None:
    await payments.consent()
    await choose(payments, "stripe-uk")
    card, mandate = f"{BOB}/paymentMethods/visa", f"{BOB}/mandates/coffee"
    await payments.payment_method("pm_card_visa", card)
    await payments.mandate(mandate, card)
    await payments.announce(payments.notice(), payments.notice(order(2), customer=BOB))
    await switch(payments, "provider-second", kind)
    await payments.fall_due(payments.due(), payments.due(order(2), customer=BOB, mandate=mandate))
    await payments.pass_time(30 * HOUR)

    theirs = charge_name(2, BOB)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert (await payments.charge(theirs)).state in {State.IN_FLIGHT, State.SCHEDULED}
    assert await payments.published() == ["PaymentSucceeded"]

    await switch(payments, "provider-second", None)
    await payments.pass_time(2 * HOUR)
    assert (await payments.charge(theirs)).state == State.SUCCEEDED
    assert await payments.published() == ["PaymentSucceeded", "PaymentSucceeded"]


@pytest.mark.parametrize("kind", KINDS)
async def test_refunds_of_an_account_that_is_out_of_order_wait(
    payments: Payments, kind: str
) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await switch(payments, "provider", kind)
    await payments.refund()
    await payments.pass_time(30 * HOUR)
    assert (await payments.charge()).refunded_amount.units == 0

    await switch(payments, "provider", None)
    await payments.pass_time(2 * HOUR)
    assert (await payments.charge()).refunded_amount.units == AMOUNT_MINOR // 100


@pytest.fixture
async def versions() -> AsyncIterator[tuple[str, list[str]]]:
    """The address of a provider without anything, and the versions that it was asked for."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Stripe-Version", ""))
        return web.json_response({"error": {"code": "resource_missing"}}, status=404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")), seen


async def test_requests_name_the_version_of_the_api(versions: tuple[str, list[str]]) -> None:
    url, seen = versions
    async with HttpClient(connections_max=1, timeout_seconds=10) as http:
        assert await StripeProvider(http, url, "sk_test").card("pm_1") is None
    assert seen == [stripe_api.VERSION]
