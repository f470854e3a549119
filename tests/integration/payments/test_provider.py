"""What the provider's answers are taken for: only a clear no is a decline, all else is not known."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from services.payments.clients.stripe import StripeProvider
from services.payments.domain.attempts import Attempt
from services.payments.domain.keys import (
    ChargeId,
    CustomerId,
    MandateId,
    MerchantId,
    PaymentMethodId,
)
from services.payments.domain.outcomes import Declined, Outcome, Pending, Succeeded, Unknown
from services.payments.domain.verdicts import SENDING
from services.runtime.http_client import HttpClient
from tests.integration.payments.suite import NOW

ATTEMPT = Attempt(
    MerchantId("acme"),
    CustomerId("ann"),
    ChargeId("coffee-1"),
    number=1,
    idempotency_key="7c9a",
    amount_minor=1250,
    currency="EUR",
    payment_method=PaymentMethodId("visa"),
    mandate=MandateId("coffee"),
    start_time=NOW,
    permit=SENDING,
)
TOKEN = "pm_card_visa"


def intent(status: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    made = {
        "amount": 1250,
        "amount_received": 1250,
        "currency": "eur",
        "metadata": {"attempt": ATTEMPT.idempotency_key},
    }
    return {"id": "pi_1", "status": status, **made, **fields}


def error(**fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"error": fields}


class Answering:
    """An HTTP server that gives every request the same answer."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = None

    async def answer(self, _: web.Request) -> web.Response:
        return web.json_response(self.body, status=self.status)


@pytest.fixture
async def answering() -> AsyncIterator[tuple[Answering, StripeProvider]]:
    answer = Answering()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with HttpClient(connections_max=1, timeout_seconds=5) as http:
        yield answer, StripeProvider(http, f"http://{host}:{port}", "key")
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, intent("succeeded"), Succeeded("pi_1")),
        (200, intent("processing"), Pending("pi_1")),
        (200, intent("requires_action"),
         Declined("authentication_required", hard=True, provider_id="pi_1")),
        (402, error(decline_code="do_not_honor", payment_intent=intent("x")),
         Declined("do_not_honor", hard=False, provider_id="pi_1")),
        (402, error(code="expired_card"), Declined("expired_card", hard=True)),
        (400, error(type="invalid_request_error", code="resource_missing"),
         Declined("resource_missing", hard=True)),
        (404, error(code="resource_missing"), Declined("resource_missing", hard=True)),
        (404, error(), Unknown("status 404")),
        (400, error(type="idempotency_error"), Unknown("status 400")),
        (401, error(), Unknown("status 401")),
        (409, error(), Unknown("status 409")),
        (429, error(), Unknown("status 429")),
        (500, error(), Unknown("status 500")),
        (200, {}, Unknown("the answer is no payment")),
        (503, ["not an object"], Unknown("status 503 without an object")),
    ],
)  # fmt: skip
async def test_each_answer_is_taken_for_no_more_than_it_says(
    answering: tuple[Answering, StripeProvider],
    status: int,
    body: object,
    outcome: Outcome,
) -> None:
    answer, provider = answering
    answer.status, answer.body = status, body
    assert await provider.charge(ATTEMPT, TOKEN) == outcome


async def test_a_search_that_finds_a_decline_is_that_decline(
    answering: tuple[Answering, StripeProvider],
) -> None:
    answer, provider = answering
    declined = intent("requires_payment_method", last_payment_error={"decline_code": "lost_card"})
    answer.body = {"data": [declined]}
    assert await provider.find(ATTEMPT) == Declined("lost_card", hard=True, provider_id="pi_1")


async def test_a_search_that_finds_nothing_knows_of_no_attempt(
    answering: tuple[Answering, StripeProvider],
) -> None:
    answer, provider = answering
    answer.body = {"data": []}
    assert await provider.find(ATTEMPT) is None


@pytest.mark.parametrize("status", [400, 401, 404, 500])
async def test_a_search_that_fails_is_not_taken_for_nothing_found(
    answering: tuple[Answering, StripeProvider], status: int
) -> None:
    answer, provider = answering
    answer.status, answer.body = status, error(code="resource_missing")
    assert isinstance(await provider.find(ATTEMPT), Unknown)


async def test_a_provider_that_is_not_there_leaves_the_outcome_unknown() -> None:
    async with HttpClient(connections_max=1, timeout_seconds=5) as http:
        provider = StripeProvider(http, "http://127.0.0.1:1", "key")
        assert isinstance(await provider.charge(ATTEMPT, TOKEN), Unknown)


def test_an_attempt_never_shows_its_token() -> None:
    assert "pm_card_visa" not in repr(ATTEMPT)
