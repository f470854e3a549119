"""Several accounts of one provider: each merchant's cards are charged by the one that it has chosen."""

import json
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
import stripe
from recurring.payments.v1 import payments_pb2

from services.payments.api.webhooks import WebhookReceiver
from services.payments.application.webhooks import WebhookInbox
from services.payments.clients.stripe import StripeProvider
from services.runtime.db.pool import Database, Pool
from services.runtime.errors import Problem
from services.runtime.http_client import HttpClient
from services.runtime.http_server import Request
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    MANDATE,
    NOW,
    VISA,
    ManualClock,
    Payments,
    State,
)
from tests.integration.sandbox.process import PROVIDER_API_KEY, SECOND_API_KEY, Sandbox

SECRETS = {"stripe": "secret_of_the_first", "stripe-uk": "secret_of_the_second"}


@pytest.fixture
async def payments(service_database: ServiceDatabase, sandbox: Sandbox) -> AsyncIterator[Payments]:
    await sandbox.stop()
    sandbox.environment["SANDBOX_SECOND_PROVIDER_API_KEY"] = SECOND_API_KEY
    await sandbox.start()
    database = Database(
        Pool(service_database("payments"), application="test", size=6, keyring=KEYRING)
    )
    async with HttpClient(connections_max=5, timeout_seconds=10) as http:
        first = StripeProvider(http, sandbox.url, PROVIDER_API_KEY)
        second = StripeProvider(http, sandbox.url, SECOND_API_KEY, name="stripe-uk")
        yield Payments(database, ManualClock(NOW), sandbox, first, others=[second])
    await database.close()


async def choose(payments: Payments, provider: str) -> None:
    name = "merchants/acme/paymentRouting"
    routing = await payments.call(payments_pb2.GetPaymentRoutingRequest(name=name))
    routing.card_provider = provider
    await payments.call(payments_pb2.UpdatePaymentRoutingRequest(payment_routing=routing))


async def counts(sandbox: Sandbox, api_key: str) -> tuple[int, int]:
    """How many payments and refunds an account has, as the provider lists them."""
    intents, refunds = [
        await sandbox.provider("GET", path, api_key=api_key)
        for path in ("/payment_intents", "/refunds")
    ]
    return len(intents.body["data"]), len(refunds.body["data"])


async def test_a_card_is_charged_by_the_account_that_its_merchant_had_chosen(
    payments: Payments,
) -> None:
    await choose(payments, "stripe-uk")
    method = await payments.payment_method("pm_card_visa")
    assert method.provider == "stripe-uk"
    await payments.mandate(MANDATE, VISA)
    # What is registered keeps the account that holds its token.
    await choose(payments, "")
    assert (await payments.payment_method(name=f"{ANN}/paymentMethods/next")).provider == "stripe"
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.refund()
    await payments.work()

    charge = await payments.charge()
    assert (charge.state, charge.refunded_amount.units) == (State.SUCCEEDED, AMOUNT_MINOR // 100)
    assert await payments.rows("SELECT provider FROM attempts") == [("stripe-uk",)]
    assert await payments.rows("SELECT provider FROM refunds") == [("stripe-uk",)]
    assert await counts(payments.sandbox, PROVIDER_API_KEY) == (0, 0)
    assert await counts(payments.sandbox, SECOND_API_KEY) == (1, 1)


async def test_a_choice_that_comes_again_is_answered_though_its_account_has_gone_since(
    payments: Payments,
) -> None:
    chosen = payments_pb2.PaymentRouting(
        name="merchants/acme/paymentRouting", card_provider="stripe-uk"
    )
    request = payments_pb2.UpdatePaymentRoutingRequest(payment_routing=chosen)
    made = await payments.call(request)
    after = Payments(payments.database, payments.clock, payments.sandbox, payments.provider)
    assert await after.call(request) == made
    request.request_id = ""
    with pytest.raises(Problem) as refused:
        await after.call(request)
    assert [it.field for it in refused.value.violations] == ["payment_routing.card_provider"]


async def webhook(receiver: WebhookReceiver, account: str, secret: str) -> HTTPStatus:
    body = json.dumps(
        {
            "id": "evt_1",
            "object": "event",
            "type": "payment_intent.succeeded",
            "data": {"object": {"id": "pi_1", "object": "payment_intent", "status": "succeeded"}},
        }
    )
    signature: str = stripe.WebhookSignature.generate_signature_header(
        body, secret, int(NOW.timestamp())
    )
    headers = [(b"stripe-signature", signature.encode())]
    request = Request("POST", f"/webhooks/{account}", headers, body.encode())
    return (await receiver.answer(request)).status


async def test_an_account_s_webhooks_are_its_own(payments: Payments) -> None:
    secrets = {account: [secret.encode()] for account, secret in SECRETS.items()}
    inbox = WebhookInbox(payments.database, payments.clock)
    receiver = WebhookReceiver(inbox, secrets, payments.clock)
    for account, secret in SECRETS.items():
        assert await webhook(receiver, account, secret) == HTTPStatus.OK
    assert await webhook(receiver, "stripe-uk", SECRETS["stripe"]) == HTTPStatus.BAD_REQUEST
    assert await webhook(receiver, "stripe-us", SECRETS["stripe"]) == HTTPStatus.NOT_FOUND

    stored = await payments.rows("SELECT provider, event FROM webhook_events ORDER BY provider")
    assert stored == [("stripe", "evt_1"), ("stripe-uk", "evt_1")]
