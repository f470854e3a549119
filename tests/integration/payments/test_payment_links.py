"""Links by which customers pay requests, and reminders before these end."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import from_timestamp, to_money
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    BOB,
    CHARGE,
    DAY,
    NOW,
    VISA,
    Payments,
    State,
    event_of,
)
from tests.integration.payments.test_dunning import set_policy
from tests.integration.payments.test_payment_methods import LOST

PAGE = "https://pay.test/acme"
HOUR = timedelta(hours=1)
LOST_CARD = f"{ANN}/paymentMethods/lost"


async def sent_link(payments: Payments, lasts: timedelta = 3 * DAY) -> str:
    """A request to pay; returns the token of the link that its customer is sent."""
    await set_policy(payments, payment_page_uri=PAGE, reminder_hours=[24, 2])
    await payments.payment_method()
    await payments.fall_due(payments.due_on_notice(lasts))
    return token_of(event_of(await payments.events(), "PaymentRequested"))


def token_of(event: Any) -> str:  # noqa: ANN401 - any event with a link
    page, _, token = event.link_uri.rpartition("/")
    assert page == PAGE
    return str(token)


async def pay(
    payments: Payments, token: str, amount_minor: int = AMOUNT_MINOR, payment_method: str = VISA
) -> Any:  # noqa: ANN401
    return await payments.call(
        payments_pb2.PayByLinkRequest(
            parent="merchants/acme",
            link_token=token,
            payment_method=payment_method,
            amount=to_money(amount_minor, "EUR"),
        )
    )


async def resolve(payments: Payments, token: str, merchant: str = "acme") -> Any:  # noqa: ANN401
    request = payments_pb2.ResolvePaymentLinkRequest(
        parent=f"merchants/{merchant}", link_token=token
    )
    return await payments.call(request, merchant=merchant)


async def reminders(payments: Payments) -> list[Any]:
    events = await payments.events()
    return [event for event in events if event.DESCRIPTOR.name == "PaymentRequestReminder"]


async def test_a_link_says_what_it_is_for_and_pays_it(payments: Payments) -> None:
    token = await sent_link(payments)
    shown = await resolve(payments, token)
    assert (shown.charge, shown.state) == (CHARGE, State.REQUESTED)
    assert shown.amount == to_money(AMOUNT_MINOR, "EUR")
    assert [method.name for method in shown.payment_methods] == [VISA]

    await pay(payments, token)
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await payments.charged_minor() == AMOUNT_MINOR
    assert (await resolve(payments, token)).HasField("link_use_time")


async def test_no_table_of_links_holds_a_token(payments: Payments) -> None:
    token = await sent_link(payments)
    [row] = await payments.rows("SELECT payment_links::text FROM payment_links")
    assert token not in str(row)
    assert token.encode().hex() not in str(row)


async def test_a_link_pays_once(payments: Payments) -> None:
    token = await sent_link(payments)
    answers = await asyncio.gather(
        *(pay(payments, token) for _ in range(5)), return_exceptions=True
    )
    reasons = {answer.reason for answer in answers if isinstance(answer, Problem)}
    assert sum(isinstance(answer, Problem) for answer in answers) == 4
    assert reasons <= {"PAYMENT_LINK_USED", "PAYMENT_REQUEST_STATE"}
    await payments.work()
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_decline_sends_a_new_link_for_another_card(payments: Payments) -> None:
    token = await sent_link(payments)
    await payments.payment_method(LOST, LOST_CARD)
    await pay(payments, token, payment_method=LOST_CARD)
    await payments.work()
    with pytest.raises(Problem) as used:
        await pay(payments, token)
    assert used.value.reason == "PAYMENT_LINK_USED"

    await pay(payments, token_of(event_of(await payments.events(), "PaymentDeclined")))
    await payments.work()
    assert await payments.charged_minor() == AMOUNT_MINOR


@pytest.mark.parametrize(
    ("amount_minor", "reason"),
    [(AMOUNT_MINOR - 1, "PARTIAL_PAYMENT"), (AMOUNT_MINOR + 1, "OVER_PAYMENT")],
)
async def test_a_wrong_amount_leaves_the_link_good(
    payments: Payments, amount_minor: int, reason: str
) -> None:
    token = await sent_link(payments)
    with pytest.raises(Problem) as refused:
        await pay(payments, token, amount_minor)
    assert refused.value.reason == reason
    await pay(payments, token)


async def test_a_link_ends_with_its_request(payments: Payments) -> None:
    token = await sent_link(payments)
    await payments.pass_time(3 * DAY)
    with pytest.raises(Problem) as refused:
        await pay(payments, token)
    assert refused.value.reason == "PAYMENT_REQUEST_STATE"


async def test_a_link_is_not_paid_with_the_card_of_another_customer(payments: Payments) -> None:
    token = await sent_link(payments)
    theirs = f"{BOB}/paymentMethods/visa"
    await payments.payment_method(name=theirs)
    with pytest.raises(Problem) as refused:
        await pay(payments, token, payment_method=theirs)
    assert [violation.field for violation in refused.value.violations] == ["payment_method"]


async def test_another_merchant_does_not_know_the_link(payments: Payments) -> None:
    token = await sent_link(payments)
    for merchant, tried in (("other", token), ("acme", "x" * 20)):
        with pytest.raises(Problem) as refused:
            await resolve(payments, tried, merchant)
        assert refused.value.reason == "PAYMENT_LINK_NOT_FOUND"


async def test_the_customer_is_reminded_once_at_each_of_the_merchants_times(
    payments: Payments,
) -> None:
    await sent_link(payments)
    await payments.pass_time(2 * DAY - HOUR)
    assert await reminders(payments) == []
    await payments.pass_time(DAY)

    told = await reminders(payments)
    assert len(told) == 2
    assert {from_timestamp(event.expire_time) for event in told} == {NOW + 3 * DAY}
    await pay(payments, token_of(told[0]))


async def test_who_has_paid_is_not_reminded(payments: Payments) -> None:
    await pay(payments, await sent_link(payments))
    await payments.pass_time(3 * DAY)
    assert await reminders(payments) == []


async def test_without_a_page_no_links_are_sent(payments: Payments) -> None:
    await payments.fall_due(payments.due_on_notice(3 * DAY))
    assert event_of(await payments.events(), "PaymentRequested").link_uri == ""
    await payments.pass_time(3 * DAY)
    [told] = await reminders(payments)
    assert told.link_uri == ""
