"""The official library of Stripe, as a client of the sandbox, finds what it finds at Stripe."""

import asyncio
from typing import Any

import pytest
import stripe

from tests.integration.sandbox.process import PROVIDER_API_KEY, Sandbox


class Library:
    """Its calls, in threads: it blocks."""

    def __init__(self, url: str, key: str = PROVIDER_API_KEY) -> None:
        self._client = stripe.StripeClient(key, base_addresses={"api": url}, max_network_retries=0)

    async def charge(self, card: str = "pm_card_visa", key: str = "1", **changes: Any) -> Any:  # noqa: ANN401
        params = {
            "amount": 1250,
            "currency": "eur",
            "payment_method": card,
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "off_session": True,
            "metadata": {"charge": "c1", "attempt": key},
            **changes,
        }
        return await asyncio.to_thread(
            self._client.v1.payment_intents.create,
            params,  # type: ignore[arg-type]
            {"idempotency_key": key},
        )

    async def refund(self, intent: str, amount: int | None = None) -> Any:  # noqa: ANN401
        params: Any = {"payment_intent": intent} | ({"amount": amount} if amount else {})
        return await asyncio.to_thread(self._client.v1.refunds.create, params)

    async def ask(self, call: Any, *arguments: Any) -> Any:  # noqa: ANN401
        return await asyncio.to_thread(call, *arguments)

    @property
    def v1(self) -> Any:  # noqa: ANN401
        return self._client.v1


@pytest.fixture
async def library(sandbox: Sandbox) -> Library:
    return Library(sandbox.url)


async def test_a_charge_is_a_typed_payment_intent(library: Library) -> None:
    intent = await library.charge()
    assert isinstance(intent, stripe.PaymentIntent)
    assert (intent.status, intent.amount_received, intent.currency) == ("succeeded", 1250, "eur")
    found = await library.ask(library.v1.payment_intents.retrieve, intent.id)
    assert found.metadata["attempt"] == "1"


async def test_a_decline_is_a_card_error_with_its_code(library: Library) -> None:
    with pytest.raises(stripe.CardError) as declined:
        await library.charge("pm_card_chargeDeclinedInsufficientFunds")
    error: Any = declined.value.error
    assert (error.code, error.decline_code) == ("card_declined", "insufficient_funds")
    assert error.payment_intent.status == "requires_payment_method"


async def test_the_same_key_with_other_parameters_is_an_idempotency_error(library: Library) -> None:
    first = await library.charge()
    assert (await library.charge()).id == first.id
    with pytest.raises(stripe.IdempotencyError):
        await library.charge(amount=1300)


async def test_less_than_the_minimum_is_refused_with_its_code(library: Library) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await library.charge(amount=49)
    assert (refused.value.code, refused.value.param) == ("amount_too_small", "amount")


async def test_a_currency_that_the_provider_has_not_is_refused(library: Library) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await library.charge(currency="xau")


async def test_a_wrong_key_is_an_authentication_error(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.AuthenticationError):
        await Library(sandbox.url, "sk_test_wrong").charge()


async def test_refunds_never_exceed_the_charge(library: Library) -> None:
    intent = await library.charge()
    refund = await library.refund(intent.id, 1000)
    assert isinstance(refund, stripe.Refund)
    assert (refund.status, refund.amount) == ("succeeded", 1000)
    with pytest.raises(stripe.InvalidRequestError):
        await library.refund(intent.id, 251)
    listed = await library.ask(library.v1.refunds.list, {"payment_intent": intent.id})
    assert [each.id for each in listed.data] == [refund.id]


async def test_lists_are_paged_and_searched(library: Library) -> None:
    made = [(await library.charge(key=str(number))).id for number in range(3)]

    def page_through() -> list[str]:
        pages = library.v1.payment_intents.list({"limit": 2})
        return [intent.id for intent in pages.auto_paging_iter()]

    assert await asyncio.to_thread(page_through) == made[::-1]
    query = {"query": "metadata['attempt']:'1'"}
    found = await library.ask(library.v1.payment_intents.search, query)
    assert [intent.id for intent in found.data] == [made[1]]


async def test_a_payment_method_is_shown_as_a_card(library: Library) -> None:
    method = await library.ask(library.v1.payment_methods.retrieve, "pm_card_visa")
    assert (method.card.brand, method.card.last4) == ("visa", "4242")


async def test_a_card_that_wants_authentication_is_declined_off_session(library: Library) -> None:
    with pytest.raises(stripe.CardError) as declined:
        await library.charge("pm_card_authenticationRequired")
    error: Any = declined.value.error
    assert (error.code, error.decline_code) == (
        "authentication_required",
        "authentication_required",
    )
    declined_intent = error.payment_intent
    assert declined_intent.status == "requires_payment_method"
    # A decline takes the card from the payment: it is not confirmed without one.
    assert declined_intent.payment_method is None
    card = declined_intent.last_payment_error.payment_method.id
    confirm = library.v1.payment_intents.confirm
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await library.ask(confirm, declined_intent.id)
    assert refused.value.code == "payment_intent_unexpected_state"
    waiting = await library.ask(confirm, declined_intent.id, {"payment_method": card})
    assert (waiting.status, waiting.payment_method) == ("requires_action", card)


@pytest.mark.parametrize(
    ("succeeds", "status", "received"),
    [(True, "succeeded", 1250), (False, "requires_payment_method", 0)],
)
async def test_with_the_customer_there_it_waits_for_their_confirmation(
    library: Library, sandbox: Sandbox, *, succeeds: bool, status: str, received: int
) -> None:
    intent = await library.charge(
        "pm_card_authenticationRequired", off_session=False, return_url="https://shop.test/back"
    )
    assert (intent.status, intent.amount_received) == ("requires_action", 0)
    redirect = intent.next_action.redirect_to_url
    assert redirect.return_url == "https://shop.test/back"
    path = redirect.url.removeprefix(sandbox.url)
    assert (await sandbox.ask("POST", path, json={"succeeds": succeeds})).status == 200
    after = await library.ask(library.v1.payment_intents.retrieve, intent.id)
    assert (after.status, after.amount_received) == (status, received)
    assert (await sandbox.ask("POST", path, json={"succeeds": True})).status == 400


async def test_a_payment_that_waits_can_be_canceled_and_one_that_succeeded_cannot(
    library: Library,
) -> None:
    waiting = await library.charge("pm_card_authenticationRequired", off_session=False)
    canceled = await library.ask(library.v1.payment_intents.cancel, waiting.id)
    assert canceled.status == "canceled"
    paid = await library.charge(key="2")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await library.ask(library.v1.payment_intents.cancel, paid.id)
    assert refused.value.code == "payment_intent_unexpected_state"
