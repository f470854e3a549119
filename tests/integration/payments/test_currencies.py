"""Money in currencies that the provider counts in its own way, or not at all."""

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.payments.suite import MANDATE, NOW, Payments
from tests.integration.payments.test_credit import give

Charge = payments_pb2.Charge


async def fall_due(payments: Payments, amount_minor: int, currency: str) -> None:
    """An announced order of so much, whose mandate covers it."""
    await payments.payment_method()
    # No less than the least charge.
    await payments.mandate(ceiling_minor=max(amount_minor, 100), currency=currency)
    notice, due = payments.notice(), payments.due()
    notice.charge_promise.amount.CopyFrom(to_money(amount_minor, currency))  # type: ignore[attr-defined]
    due.amount.CopyFrom(to_money(amount_minor, currency))
    await payments.announce(notice)
    await payments.fall_due(due)
    await payments.work()


@pytest.mark.parametrize(
    ("amount_minor", "currency", "amount"),
    [(3000, "ISK", 300_000), (5_120, "KWD", 5_120), (1_000, "MGA", 10), (1250, "JPY", 1250)],
)
async def test_a_payment_and_its_refund_are_in_the_providers_units_and_the_books_in_ours(
    payments: Payments, amount_minor: int, currency: str, amount: int
) -> None:
    await fall_due(payments, amount_minor, currency)
    assert await payments.charged_minor() == amount
    await payments.refund()
    await payments.work()
    [refund] = (await payments.sandbox.provider("GET", "/refunds")).body["data"]
    assert (refund["amount"], refund["currency"]) == (amount, currency.lower())
    charge = await payments.charge()
    assert charge.amount == charge.refunded_amount == to_money(amount_minor, currency)


@pytest.mark.parametrize(
    ("amount_minor", "currency"), [(49, "EUR"), (5_124, "KWD"), (1_050, "MGA"), (10**10, "ISK")]
)
async def test_what_the_provider_does_not_charge_is_refused_before_it_is_sent(
    payments: Payments, amount_minor: int, currency: str
) -> None:
    await fall_due(payments, amount_minor, currency)
    charge = await payments.charge()
    assert charge.state == Charge.REFUSED
    assert list(charge.refusal_reasons) == [payments_pb2.AMOUNT_NOT_CHARGEABLE]
    assert await payments.payments_at_provider() == []


async def test_nobody_is_asked_to_confirm_what_cannot_be_charged(payments: Payments) -> None:
    due = payments.due_on_notice()
    due.amount.CopyFrom(to_money(1_000, "GHS"))
    await payments.fall_due(due)
    await payments.work()
    assert await payments.published() == ["PaymentRefused"]
    reasons = list((await payments.charge()).refusal_reasons)
    assert reasons == [payments_pb2.CURRENCY_NOT_CHARGEABLE]


async def test_a_mandate_in_a_currency_that_the_provider_does_not_charge_in_is_refused(
    payments: Payments,
) -> None:
    await payments.payment_method()
    with pytest.raises(Problem) as refused:
        await payments.mandate(currency="GHS")
    [violation] = refused.value.violations
    assert violation.field == "mandate.charge_ceiling.currency_code"


async def test_a_mandate_does_not_cover_what_cannot_be_charged(payments: Payments) -> None:
    await payments.payment_method()
    await payments.mandate(currency="KWD")
    checks = [
        payments_pb2.MandateCheck(
            standing_order="merchants/acme/standingOrders/coffee",
            mandate=MANDATE,
            amount=to_money(amount, "KWD"),
            charge_time=to_timestamp(NOW),
        )
        for amount in (5_120, 5_124)
    ]
    request = payments_pb2.BatchCheckMandatesRequest(checks=checks)
    answer = await payments.api.BatchCheckMandates(request, None)
    assert [list(result.reasons) for result in answer.results] == [
        [],
        [payments_pb2.AMOUNT_NOT_CHARGEABLE],
    ]


async def test_a_mandate_covers_what_is_too_little_to_be_charged_if_credit_pays_it(
    payments: Payments,
) -> None:
    await payments.consent()

    async def reasons(amount_minor: int) -> list[payments_pb2.RefusalReason.ValueType]:
        check = payments_pb2.MandateCheck(
            standing_order="merchants/acme/standingOrders/coffee",
            mandate=MANDATE,
            amount=to_money(amount_minor, "EUR"),
            charge_time=to_timestamp(NOW),
        )
        request = payments_pb2.BatchCheckMandatesRequest(checks=[check])
        [result] = (await payments.call(request)).results
        return [*result.reasons]

    assert await reasons(49) == [payments_pb2.AMOUNT_NOT_CHARGEABLE]
    await give(payments, 49)
    assert await reasons(49) == []
    await payments.announce(payments.notice(amount_minor=49))
    await payments.fall_due(payments.due(amount_minor=49))
    await payments.work()
    assert (await payments.charge()).state == Charge.SUCCEEDED


async def test_credit_pays_no_request_that_nobody_confirmed(payments: Payments) -> None:
    await give(payments, 100)
    due = payments.due_on_notice()
    due.amount.CopyFrom(to_money(49, "EUR"))
    await payments.fall_due(due)
    await payments.work()
    charge = await payments.charge()
    assert (charge.state, charge.credit_amount.units) == (Charge.REFUSED, 0)
    assert list(charge.refusal_reasons) == [payments_pb2.AMOUNT_NOT_CHARGEABLE]


async def test_a_refund_that_the_provider_does_not_count_in_names_what_it_does(
    payments: Payments,
) -> None:
    await fall_due(payments, 5_120, "KWD")
    with pytest.raises(Problem) as refused:
        await payments.refund(amount_minor=124, currency="KWD")
    [violation] = refused.value.violations
    assert (violation.field, violation.description) == (
        "refund.amount",
        "must be a multiple of 0.010 KWD, which the provider counts in",
    )
    await payments.refund(amount_minor=120, currency="KWD")
