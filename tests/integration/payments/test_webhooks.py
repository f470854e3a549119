"""What the provider tells by itself: taken once, in any order, and only if the provider signed it."""

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stripe
from recurring.payments.v1 import payments_pb2

from deploy.embedded.ports import HOST
from services.payments.api.webhooks import HTTP_LIMITS, PATH, WebhookReceiver
from services.payments.application.webhooks import WebhookInbox
from services.payments.clients.stripe import StripeProvider
from services.payments.domain.webhooks import KEPT
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Database, Pool
from services.runtime.http_client import HttpClient
from services.runtime.http_server import HttpServer
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    CHARGE,
    DAY,
    NOW,
    ManualClock,
    Payments,
    State,
)
from tests.integration.sandbox.process import PROVIDER_API_KEY, Sandbox, held_port

SECRET, OLD_SECRET = "whsec_of_now", "whsec_of_before"
HOUR_SECONDS = 3600
Attempt = payments_pb2.Charge.Attempt
Refund = payments_pb2.Refund


@pytest.fixture
async def payments(service_database: ServiceDatabase, tmp_path: Path) -> AsyncIterator[Payments]:
    """Payments with an address for webhooks, and a provider that sends them there."""
    held = held_port()
    address = f"{HOST}:{held.getsockname()[1]}"
    clock = ManualClock(NOW)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        sandbox = Sandbox(
            tmp_path / "record.sqlite3",
            http,
            environment={
                "SANDBOX_EXPECTED_SERVICES": ",",
                "SANDBOX_WEBHOOK_URL": f"http://{address}{PATH}",
                "SANDBOX_WEBHOOK_SECRET": SECRET,
            },
        )
        await sandbox.start()
        stack.push_async_callback(sandbox.close)
        database = Database(
            Pool(service_database("payments"), application="test", size=6, keyring=KEYRING)
        )
        stack.push_async_callback(database.close)
        secrets = [SECRET.encode(), OLD_SECRET.encode()]
        receiver = WebhookReceiver(WebhookInbox(database, clock), {"stripe": secrets}, clock)
        server = HttpServer(receiver.answer, HTTP_LIMITS)
        await server.start(address)
        stack.push_async_callback(server.stop, 1)
        client = await stack.enter_async_context(HttpClient(connections_max=20, timeout_seconds=10))
        provider = StripeProvider(client, sandbox.url, PROVIDER_API_KEY)
        payments = Payments(database, clock, sandbox, provider)
        payments.webhook_url = f"http://{address}{PATH}"
        yield payments
    held.close()


async def let_provider(payments: Payments, **behavior: int) -> None:
    await payments.sandbox.ask("PUT", "/provider/behavior", json=behavior)


async def let_time_pass(payments: Payments, seconds: int = 1) -> None:
    """At the provider, which sends what is due, and here."""
    sandbox = payments.sandbox
    async with sandbox.http.post(f"{sandbox.url}/clock/advance", json={"seconds": seconds}) as done:
        await done.read()
    payments.clock.move(timedelta(seconds=seconds))


async def post(
    payments: Payments, body: bytes, header: str | None = None, secret: str = SECRET
) -> int:
    if header is None:
        header = signed(body, payments.clock.now(), secret)
    headers = {"Stripe-Signature": header}
    async with payments.sandbox.http.post(
        payments.webhook_url, data=body, headers=headers
    ) as answer:
        return answer.status


def signed(body: bytes, moment: datetime, secret: str = SECRET) -> str:
    """As the official library signs for tests of its users."""
    header: str = stripe.WebhookSignature.generate_signature_header(
        body.decode(), secret, int(moment.timestamp())
    )
    return header


def event(name: str = "evt_1", **shown: Any) -> bytes:  # noqa: ANN401 - any JSON
    about = {"id": "pi_1", "object": "payment_intent", "status": "succeeded", **shown}
    body = {"id": name, "object": "event", "type": "payment_intent.succeeded"}
    return json.dumps({**body, "data": {"object": about}}).encode()


async def kept(payments: Payments) -> list[tuple[Any, ...]]:
    # No caller sees any.
    act_for_all("payments")
    return await payments.rows("SELECT type, state FROM webhook_events ORDER BY receive_time, type")


async def begin(payments: Payments, card: str = "pm_card_visa") -> None:
    await payments.consent(card)
    await payments.announce()
    await payments.fall_due()
    await payments.due_work.charge()


async def look_up_in_vain(payments: Payments) -> None:
    """The provider charges, its answer is lost, and so is that of the first look-up."""
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.sandbox.ask(
        "PUT", "/outages/provider", json={"on": True, "kind": "lost_answers"}
    )
    await payments.due_work.charge()
    payments.clock.move(timedelta(seconds=30))
    await payments.due_work.look_up()
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    assert (await payments.charge()).attempts[0].state == Attempt.UNKNOWN


async def lookups(payments: Payments) -> list[str]:
    record = await payments.sandbox.ask("GET", "/record/requests?part=provider&limit=1000")
    return [request["path"] for request in record.body["data"] if request["method"] == "GET"]


async def test_an_attempt_of_unknown_outcome_is_settled_as_soon_as_a_webhook_comes(
    payments: Payments,
) -> None:
    await let_provider(payments, webhooks_late_seconds=40)
    await look_up_in_vain(payments)
    await payments.work()
    before = len(await lookups(payments))
    assert (await payments.charge()).state == State.IN_FLIGHT
    await let_time_pass(payments, 40)
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR
    # By the payment that the webhook names, and not by a search.
    [path] = (await lookups(payments))[before:-1]
    assert path.startswith("/v1/payment_intents/pi_")


async def test_a_webhook_of_a_settled_attempt_asks_the_provider_nothing(payments: Payments) -> None:
    await begin(payments)
    assert (await payments.charge()).state == State.SUCCEEDED
    await let_time_pass(payments)
    await payments.work()
    assert await kept(payments) == [("payment_intent.succeeded", "HANDLED")]
    assert await lookups(payments) == ["/v1/payment_methods/pm_card_visa"]


async def test_a_webhook_that_comes_again_changes_nothing(payments: Payments) -> None:
    await let_provider(payments, webhooks_repeated_after_seconds=HOUR_SECONDS)
    await begin(payments)
    await let_time_pass(payments)
    await payments.work()
    before = await payments.published()
    await let_time_pass(payments, HOUR_SECONDS)
    await payments.work()
    sent = (await payments.sandbox.ask("GET", "/provider/webhooks")).body["data"]
    assert [each["tries"] for each in sent] == [2]
    assert await kept(payments) == [("payment_intent.succeeded", "HANDLED")]
    assert await payments.published() == before


async def test_a_refund_that_fails_is_followed_when_the_webhook_comes(payments: Payments) -> None:
    await begin(payments)
    await let_provider(payments, refunds_fail_after_seconds=2 * HOUR_SECONDS)
    await payments.refund()
    await payments.work()
    await let_time_pass(payments, 2 * HOUR_SECONDS)
    await payments.work()
    request = payments_pb2.GetRefundRequest(name=f"{CHARGE}/refunds/spilt")
    assert (await payments.call(request)).state == Refund.FAILED
    balances = await payments.balances()
    assert balances["provider-clearing"] == AMOUNT_MINOR


async def test_webhooks_out_of_order_come_to_the_same(payments: Payments) -> None:
    await begin(payments)
    await let_provider(
        payments,
        refunds_pending_seconds=HOUR_SECONDS,
        webhooks_created_late_seconds=DAY.days * 86400,
    )
    await payments.refund()
    await payments.work()
    await let_time_pass(payments, HOUR_SECONDS)
    await payments.work()
    request = payments_pb2.GetRefundRequest(name=f"{CHARGE}/refunds/spilt")
    assert (await payments.call(request)).state == Refund.SUCCEEDED
    before = await payments.published()
    await let_time_pass(payments, 86400)
    await payments.work()
    assert [state for _, state in await kept(payments)] == ["HANDLED"] * 3
    assert (await payments.call(request)).state == Refund.SUCCEEDED
    assert await payments.published() == before


async def test_a_webhook_that_is_not_taken_comes_again(payments: Payments) -> None:
    await begin(payments)
    before = payments.clock.now()
    # Signed an hour ago by the clock of this side: refused.
    payments.clock.move(timedelta(hours=1))
    await payments.sandbox.charge(key="other")
    await let_time_pass(payments)
    payments.clock.move(before - payments.clock.now())
    await let_time_pass(payments, 120)
    await payments.work()
    assert len(await kept(payments)) == 2


async def test_a_payment_that_nobody_here_made_is_kept_for_people(payments: Payments) -> None:
    await payments.sandbox.charge(key="of-somebody-else")
    await let_time_pass(payments)
    await payments.work()
    assert await kept(payments) == [("payment_intent.succeeded", "UNKNOWN_OBJECT")]


async def test_money_that_moved_by_a_declined_attempt_is_kept_for_people(
    payments: Payments,
) -> None:
    await begin(payments, "pm_card_chargeDeclined")
    charge = await payments.charge()
    assert charge.attempts[0].state == Attempt.DECLINED
    [(key,)] = await payments.rows("SELECT idempotency_key FROM attempts")
    assert await post(payments, event(metadata={"charge": CHARGE, "attempt": key})) == 200
    await payments.work()
    assert ("payment_intent.succeeded", "CONTRADICTED") in await kept(payments)


async def test_an_event_about_something_else_is_ignored(payments: Payments) -> None:
    assert await post(payments, event(object="customer", status=None)) == 200
    await payments.work()
    assert await kept(payments) == [("payment_intent.succeeded", "IGNORED")]


async def test_what_the_provider_has_not_signed_is_refused_and_leaves_no_trace(
    payments: Payments,
) -> None:
    body, now = event(), payments.clock.now()
    forged = [
        "",
        "t=1,v1=",
        f"t={int(now.timestamp())}",
        f"t={int(now.timestamp())},v1={'0' * 64}",
        f"t={int(now.timestamp())},v1=\u00e9",
        f"t={'9' * 400},v1={'0' * 64}",
        signed(body, now, "whsec_of_another"),
        signed(event("evt_2"), now),
        # A time that was not signed.
        signed(body, now - DAY).replace(
            str(int((now - DAY).timestamp())), str(int(now.timestamp()))
        ),
        # Only under a scheme of tests.
        signed(body, now).replace("v1=", "v0="),
    ]
    assert [await post(payments, body, header) for header in forged] == [400] * len(forged)
    assert await kept(payments) == []


async def test_a_webhook_that_was_signed_long_ago_is_a_replay_and_refused(
    payments: Payments,
) -> None:
    body, now = event(), payments.clock.now()
    assert await post(payments, body, signed(body, now - timedelta(seconds=299))) == 200
    assert await post(payments, body, signed(body, now - timedelta(seconds=301))) == 400


async def test_two_secrets_are_good_while_one_replaces_the_other(payments: Payments) -> None:
    now = payments.clock.now()
    body = event()
    both = signed(body, now, "whsec_of_another") + "," + signed(body, now, SECRET).partition(",")[2]
    assert await post(payments, body, both) == 200
    assert await post(payments, body, secret=OLD_SECRET) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"id": "evt_1"}',
        b'{"id": "evt_1", "type": "t", "data": {"object": []}}',
        b'{"id": 1, "type": "t", "data": {"object": {}}}',
        b'{"id": "a\\u0000b", "type": "t", "data": {"object": {}}}',
    ],
)
async def test_a_signed_body_that_is_no_event_is_refused(payments: Payments, body: bytes) -> None:
    at = str(int(payments.clock.now().timestamp()))
    digest = hmac.new(SECRET.encode(), at.encode() + b"." + body, sha256).hexdigest()
    assert await post(payments, body, f"t={at},v1={digest}") == 400
    assert await kept(payments) == []


async def test_there_is_one_address_and_nothing_else(payments: Payments) -> None:
    http, url = payments.sandbox.http, payments.webhook_url
    assert (await http.get(url)).status == 405
    assert (await http.post(url + "/other", data=b"")).status == 404
    assert (await http.post(url, data=b"0" * (HTTP_LIMITS.body_max_bytes + 1))).status == 413


async def test_an_old_event_is_forgotten(payments: Payments) -> None:
    body = event(object="customer")
    await post(payments, body)
    await payments.work()
    payments.clock.move(KEPT)
    await post(payments, event("evt_2", object="customer"))
    await payments.work()
    assert await payments.rows("SELECT event FROM webhook_events") == [("evt_2",)]


async def test_webhooks_are_answered_within_milliseconds(payments: Payments) -> None:
    """500 a second were asked for; so many come at once here, on a machine that does much else."""
    bodies = [event(f"evt_{number}", object="customer") for number in range(500)]
    started = time.perf_counter()
    statuses = await asyncio.gather(*(post(payments, body) for body in bodies))
    assert set(statuses) == {200}
    assert time.perf_counter() - started < 5
    assert len(await kept(payments)) == len(bodies)
