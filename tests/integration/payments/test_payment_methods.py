"""Several payment methods of one customer: the default, the fallbacks, and what takes their place."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from google.type import date_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import events_pb2, payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    DAY,
    MANDATE,
    VISA,
    Payments,
    State,
    charge_name,
    order,
)

MASTERCARD = f"{ANN}/paymentMethods/mastercard"
POOR = "pm_card_chargeDeclinedInsufficientFunds"
SEPA_DEBIT = "pm_sandbox_sepaDebit"
LOST = "pm_card_chargeDeclinedLostCard"
Method = payments_pb2.PaymentMethod


async def set_default(payments: Payments, name: str) -> Any:  # noqa: ANN401
    return await payments.call(payments_pb2.SetDefaultPaymentMethodRequest(name=name))


async def set_fallback(payments: Payments, name: str, order: int) -> Any:  # noqa: ANN401
    return await payments.call(
        payments_pb2.UpdatePaymentMethodRequest(
            payment_method=Method(name=name, fallback_order=order),
            update_mask=field_mask_pb2.FieldMask(paths=["fallback_order"]),
        )
    )


async def replace(payments: Payments, name: str, successor: str, card: str) -> Any:  # noqa: ANN401
    return await payments.call(
        payments_pb2.ReplacePaymentMethodRequest(
            name=name, payment_method_id=successor, payment_method=Method(provider_token=card)
        )
    )


async def detach(payments: Payments, name: str, *, force: bool = False) -> Any:  # noqa: ANN401
    return await payments.call(payments_pb2.DetachPaymentMethodRequest(name=name, force=force))


async def get(payments: Payments, name: str) -> Any:  # noqa: ANN401
    return await payments.call(payments_pb2.GetPaymentMethodRequest(name=name))


async def methods_tried(payments: Payments) -> list[str]:
    """What each attempt of the charge was made with, by our record, which is the provider's too."""
    attempts = (await payments.charge()).attempts
    return [attempt.payment_method.rpartition("/")[2] for attempt in attempts]


async def fall_due(payments: Payments) -> None:
    await payments.announce()
    await payments.fall_due()
    await payments.work()


async def test_the_first_method_is_the_default_and_says_what_it_is(payments: Payments) -> None:
    first = await payments.payment_method("pm_sandbox_expires202803")
    second = await payments.payment_method("pm_sandbox_sepaDebit", MASTERCARD)

    assert (first.default_method, second.default_method) == (True, False)
    assert first.expire_date == date_pb2.Date(year=2028, month=3)
    assert (first.kind, second.kind) == (Method.CARD, Method.BANK_DEBIT)
    assert (second.brand, second.last4) == ("sepa_debit", "3000")
    assert not second.HasField("expire_date")


async def test_two_first_methods_at_the_same_time_make_one_default(payments: Payments) -> None:
    made = await asyncio.gather(
        payments.payment_method(), payments.payment_method("pm_card_mastercard", MASTERCARD)
    )
    assert sorted(method.default_method for method in made) == [False, True]


async def test_a_retry_is_made_with_the_card_that_took_the_place_of_the_declined_one(
    payments: Payments,
) -> None:
    await payments.consent(POOR)
    await fall_due(payments)
    await replace(payments, VISA, "next", "pm_card_visa")
    await payments.pass_time(DAY)

    assert (await payments.charge()).state == State.SUCCEEDED
    assert await methods_tried(payments) == ["visa", "next"]
    assert await payments.cards_at_provider() == [
        (POOR, "requires_payment_method"),
        ("pm_card_visa", "succeeded"),
    ]


async def test_a_retry_is_made_with_the_new_default_under_a_mandate_for_the_default(
    payments: Payments,
) -> None:
    await payments.payment_method(POOR)
    await payments.mandate(payment_method="")
    await fall_due(payments)
    await payments.payment_method("pm_card_mastercard", MASTERCARD)
    await set_default(payments, MASTERCARD)
    await payments.pass_time(DAY)

    assert await methods_tried(payments) == ["visa", "mastercard"]
    assert await payments.charged_minor() == AMOUNT_MINOR


async def test_a_retry_is_made_with_the_same_card_once_its_issuer_takes_it(
    payments: Payments,
) -> None:
    await payments.consent(POOR)
    await fall_due(payments)
    await payments.sandbox.ask("PUT", f"/provider/cards/{POOR}", json={"decline_code": None})
    await payments.pass_time(DAY)
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_a_mandate_that_names_a_method_is_charged_by_no_other(payments: Payments) -> None:
    await payments.consent(POOR)
    await payments.payment_method("pm_card_mastercard", MASTERCARD)
    await set_fallback(payments, MASTERCARD, 1)
    await set_default(payments, MASTERCARD)
    await fall_due(payments)
    await payments.pass_time(16 * DAY)

    assert set(await methods_tried(payments)) == {"visa"}
    assert await payments.charged_minor() == 0


async def test_a_dead_default_gives_way_to_the_first_fallback_that_is_alive(
    payments: Payments,
) -> None:
    await payments.payment_method(LOST)
    await payments.payment_method("pm_card_mastercard", MASTERCARD)
    await payments.payment_method("pm_card_visa", f"{ANN}/paymentMethods/second")
    await payments.payment_method("pm_card_visa", f"{ANN}/paymentMethods/no-fallback")
    await set_fallback(payments, MASTERCARD, 2)
    await set_fallback(payments, f"{ANN}/paymentMethods/second", 1)
    await payments.mandate(payment_method="")
    async with payments.database.begin() as tx:
        await tx.execute(
            "UPDATE payment_methods SET block_time = create_time, decline_code = 'lost_card'"
            " WHERE payment_method = 'visa'"
        )
    await fall_due(payments)

    assert await methods_tried(payments) == ["second"]
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_an_expired_default_gives_way_and_is_charged_where_nothing_else_is(
    payments: Payments,
) -> None:
    await payments.payment_method("pm_sandbox_expires202601")
    await payments.payment_method("pm_card_mastercard", MASTERCARD)
    await payments.mandate(payment_method="")
    # The provider's clock stands still: to it the card is still good.
    payments.clock.move(2 * DAY)
    assert (await get(payments, VISA)).state == Method.EXPIRED
    await fall_due(payments)
    assert await methods_tried(payments) == ["visa"]

    await set_fallback(payments, MASTERCARD, 1)
    await payments.announce(payments.notice(order="merchants/acme/standingOrders/coffee/orders/2"))
    await payments.fall_due(payments.due(order="merchants/acme/standingOrders/coffee/orders/2"))
    await payments.work()
    second = await payments.charge(f"{ANN}/charges/coffee-2")
    assert second.attempts[0].payment_method == MASTERCARD


async def test_a_detached_method_is_never_charged_again(payments: Payments) -> None:
    await payments.consent(POOR)
    await fall_due(payments)
    await detach(payments, VISA, force=True)
    await payments.sandbox.ask("PUT", f"/provider/cards/{POOR}", json={"decline_code": None})
    await payments.pass_time(16 * DAY)

    charge = await payments.charge()
    assert (charge.state, list(charge.refusal_reasons)) == (
        State.REFUSED,
        [payments_pb2.PAYMENT_METHOD_MISSING],
    )
    assert await payments.charged_minor() == 0


async def test_the_last_method_of_an_active_mandate_is_detached_by_force_only(
    payments: Payments,
) -> None:
    await payments.payment_method()
    await payments.mandate(payment_method="")
    with pytest.raises(Problem) as refused:
        await detach(payments, VISA)
    assert (refused.value.reason, refused.value.metadata) == (
        "PAYMENT_METHOD_IN_USE",
        {"mandates": MANDATE},
    )

    await payments.payment_method("pm_card_mastercard", MASTERCARD)
    await set_fallback(payments, MASTERCARD, 1)
    detached = await detach(payments, VISA)
    assert detached.state == Method.DETACHED
    assert (await get(payments, MASTERCARD)).default_method
    assert await detach(payments, VISA) == detached


async def test_a_method_that_a_revoked_mandate_names_is_detached(payments: Payments) -> None:
    await payments.consent()
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    assert (await detach(payments, VISA)).state == Method.DETACHED


async def test_a_replaced_method_hands_on_its_place_and_its_mandates(payments: Payments) -> None:
    await payments.consent()
    await set_fallback(payments, VISA, 3)
    successor = await replace(payments, VISA, "next", "pm_card_mastercard")

    assert (successor.default_method, successor.fallback_order) == (True, 3)
    mandate = await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))
    assert mandate.payment_method == successor.name
    assert (await get(payments, VISA)).state == Method.DETACHED
    for use in (set_default, detach):
        if use is set_default:
            with pytest.raises(Problem) as refused:
                await use(payments, VISA)
            assert refused.value.reason == "PAYMENT_METHOD_DETACHED"


async def terms_changed(payments: Payments) -> list[str]:
    """The schemes that mandates came to be charged by, as published."""
    return [
        catalog_pb2.PaymentScheme.Name(event.payment_scheme)
        for event in await payments.events()
        if isinstance(event, events_pb2.MandateTermsChanged)
    ]


async def test_it_is_published_when_a_mandate_comes_under_another_scheme(
    payments: Payments,
) -> None:
    await payments.consent()
    await replace(payments, VISA, "same", "pm_card_visa")
    assert await terms_changed(payments) == []
    await replace(payments, f"{ANN}/paymentMethods/same", "account", SEPA_DEBIT)
    assert await terms_changed(payments) == ["SEPA_DIRECT_DEBIT"]


async def test_it_is_published_when_the_account_takes_the_place_of_a_dead_card(
    payments: Payments,
) -> None:
    await payments.payment_method(LOST)
    await payments.mandate(payment_method="")
    await payments.payment_method(SEPA_DEBIT, f"{ANN}/paymentMethods/account")
    await set_fallback(payments, f"{ANN}/paymentMethods/account", 1)
    assert await terms_changed(payments) == []
    await fall_due(payments)
    assert await terms_changed(payments) == ["SEPA_DIRECT_DEBIT"]


async def test_a_replacement_that_is_refused_changes_nothing(payments: Payments) -> None:
    await payments.consent()
    await payments.payment_method("pm_card_mastercard", MASTERCARD)
    with pytest.raises(Problem) as refused:
        await replace(payments, VISA, "mastercard", "pm_card_visa")
    assert refused.value.reason == "PAYMENT_METHOD_ALREADY_EXISTS"
    assert (await get(payments, VISA)).state == Method.ACTIVE


async def test_a_dead_card_does_not_become_the_default(payments: Payments) -> None:
    await payments.consent(LOST)
    await fall_due(payments)
    await payments.payment_method("pm_card_mastercard", MASTERCARD)
    await set_default(payments, MASTERCARD)
    with pytest.raises(Problem) as refused:
        await set_default(payments, VISA)
    assert refused.value.reason == "PAYMENT_METHOD_BLOCKED"


async def test_a_card_of_a_customer_of_the_provider_is_charged_as_theirs(
    payments: Payments,
) -> None:
    await payments.consent("pm_sandbox_ofCustomer")
    await fall_due(payments)

    assert (await get(payments, VISA)).provider_customer_id == "cus_sandbox"
    [payment] = await payments.payments_at_provider()
    assert (payment["customer"], payment["status"]) == ("cus_sandbox", "succeeded")


async def test_a_card_that_was_attached_after_it_was_registered_is_charged_as_its_customers(
    payments: Payments,
) -> None:
    await payments.consent("pm_sandbox_ofNobody")
    path = "/provider/cards/pm_sandbox_ofNobody"
    await payments.sandbox.ask("PUT", path, json={"customer": "cus_late"})
    await payments.announce(payments.notice(), payments.notice(order(2)))
    await payments.fall_due(payments.due(), payments.due(order(2)))
    await payments.pass_time(timedelta(hours=1))

    assert (await get(payments, VISA)).provider_customer_id == "cus_late"
    charged = await payments.payments_at_provider()
    assert [(each["customer"], each["status"]) for each in charged] == [
        ("cus_late", "succeeded"),
        ("cus_late", "succeeded"),
    ]
    assert await payments.published() == ["PaymentSucceeded", "PaymentSucceeded"]


@pytest.mark.parametrize("card", ["pm_sandbox_ofCustomer", "pm_sandbox_ofNobody"])
async def test_a_card_that_is_nobodys_at_the_provider_is_blocked_when_it_is_charged_again(
    payments: Payments, card: str
) -> None:
    await payments.consent(card)
    await fall_due(payments)
    assert (await payments.charge()).state == State.SUCCEEDED
    # Of the one that was a customer's, as when the customer or the card is deleted there.
    await payments.sandbox.ask("PUT", f"/provider/cards/{card}", json={"customer": None})
    await payments.announce(payments.notice(order(2)))
    await payments.fall_due(payments.due(order(2)))
    await payments.work()

    [attempt] = (await payments.charge(charge_name(2))).attempts
    assert attempt.decline_code == "payment_method_detached"
    assert (await get(payments, VISA)).state == Method.BLOCKED
    assert (await payments.published())[-1] == "PaymentMethodBlocked"


async def test_a_check_tells_a_mandate_for_the_default_what_is_missing(payments: Payments) -> None:
    await payments.payment_method()
    await payments.mandate(payment_method="")
    check = payments_pb2.MandateCheck(
        standing_order="merchants/acme/standingOrders/coffee",
        mandate=MANDATE,
        amount=to_money(AMOUNT_MINOR, "EUR"),
        charge_time=to_timestamp(payments.clock.now()),
    )

    async def reasons() -> list[Any]:
        request = payments_pb2.BatchCheckMandatesRequest(checks=[check])
        return list((await payments.call(request)).results[0].reasons)

    assert await reasons() == []
    await detach(payments, VISA, force=True)
    assert await reasons() == [payments_pb2.PAYMENT_METHOD_MISSING]
    await payments.payment_method("pm_card_mastercard", MASTERCARD)
    assert await reasons() == []


async def test_an_attempt_that_the_provider_lost_is_not_sent_again_with_a_replaced_card(
    payments: Payments,
) -> None:
    await payments.consent()
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    await fall_due(payments)
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    await replace(payments, VISA, "next", "pm_card_mastercard")
    await payments.pass_time(timedelta(hours=6))

    assert await payments.cards_at_provider() == [("pm_card_mastercard", "succeeded")]
    assert await methods_tried(payments) == ["visa", "next"]


async def test_a_default_that_changes_while_charges_are_decided_leaves_none_without_a_method(
    payments: Payments,
) -> None:
    await payments.payment_method()
    await payments.mandate(payment_method="")
    await payments.announce()
    await payments.fall_due()
    await asyncio.gather(
        replace(payments, VISA, "next", "pm_card_mastercard"),
        *(payments.process().charge() for _ in range(3)),
    )
    await payments.work()
    assert (await payments.charge()).state == State.SUCCEEDED


async def refused(payments: Payments, **fields: Any) -> dict[str, str]:  # noqa: ANN401
    """By field, why a payment method is not registered."""
    request = payments_pb2.CreatePaymentMethodRequest(
        parent=ANN,
        payment_method_id="other",
        payment_method=payments_pb2.PaymentMethod(provider_token="pm_card_visa", **fields),
    )
    with pytest.raises(Problem) as problem:
        await payments.call(request)
    return {each.field: each.description for each in problem.value.violations}


async def test_a_payment_method_says_which_provider_it_belongs_to(payments: Payments) -> None:
    assert (await payments.payment_method()).provider == "stripe"


async def test_a_provider_that_there_is_not_is_refused(payments: Payments) -> None:
    assert await refused(payments, provider="paypal") == {
        "payment_method.provider": "must be one of stripe, or left out"
    }


async def test_a_token_of_another_kind_is_refused(payments: Payments) -> None:
    assert await refused(payments, kind=payments_pb2.PaymentMethod.BANK_DEBIT) == {
        "payment_method.kind": "must be CARD, as the provider says of the token, or left out"
    }
