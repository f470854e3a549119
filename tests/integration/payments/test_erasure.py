"""Personal data are erased on request; what the books and a dispute need stays."""

import uuid

import pytest
from recurring.payments.v1 import payments_pb2

from services.payments.domain.consent import DISPUTE_PERIOD
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_timestamp
from tests.integration.payments.suite import ANN, CHARGE, DAY, MANDATE, VISA, Payments


@pytest.fixture
async def paid(payments: Payments) -> Payments:
    """Ann has paid once, and got some of it back."""
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    refund = payments_pb2.CreateRefundRequest(parent=CHARGE, refund_id="spilt")
    refund.refund.note = "Ann called"
    await payments.call(refund)
    await payments.work()
    return payments


async def erase(payments: Payments) -> payments_pb2.EraseCustomerResponse:
    erased: payments_pb2.EraseCustomerResponse = await payments.call(
        payments_pb2.EraseCustomerRequest(name=ANN)
    )
    return erased


async def mandate(payments: Payments) -> payments_pb2.Mandate:
    mandate: payments_pb2.Mandate = await payments.call(
        payments_pb2.GetMandateRequest(name=MANDATE)
    )
    return mandate


async def test_who_still_owes_a_payment_is_not_erased(payments: Payments) -> None:
    await payments.consent()
    await payments.fall_due()
    with pytest.raises(Problem) as refused:
        await erase(payments)

    assert refused.value.reason == "CUSTOMER_HAS_CHARGES"
    assert refused.value.metadata == {"charges": CHARGE}
    assert (await mandate(payments)).state == payments_pb2.Mandate.ACTIVE


async def test_cards_titles_and_notes_are_gone_and_the_books_stay(paid: Payments) -> None:
    books, charge = await paid.balances(), await paid.charge()
    await erase(paid)

    cards = await paid.rows("SELECT provider_token, brand, last4 FROM payment_methods")
    assert cards == [(b"", "", "")]
    assert await paid.rows("SELECT title FROM charges") == [("",)]
    assert await paid.rows("SELECT note FROM refunds") == [(b"",)]
    assert (await paid.balances(), await paid.charge()) == (books, charge)


async def test_an_erased_card_is_not_there_any_more(paid: Payments) -> None:
    await erase(paid)

    listed = await paid.call(payments_pb2.ListPaymentMethodsRequest(parent=ANN))
    assert not listed.payment_methods
    with pytest.raises(Problem) as refused:
        await paid.mandate(f"{ANN}/mandates/another", VISA)
    assert refused.value.reason == "PAYMENT_METHOD_NOT_FOUND"


async def test_consents_are_revoked_and_their_evidence_kept_while_a_charge_can_be_disputed(
    paid: Payments,
) -> None:
    charged = paid.clock.now()
    erased = await erase(paid)
    kept = await mandate(paid)

    assert kept.state == payments_pb2.Mandate.REVOKED
    assert kept.evidence.text
    assert erased.evidence_until_time == to_timestamp(charged + DISPUTE_PERIOD)
    paid.clock.move(DISPUTE_PERIOD + DAY)
    assert await erase(paid) == payments_pb2.EraseCustomerResponse()
    assert not (await mandate(paid)).HasField("evidence")


async def test_evidence_that_was_never_needed_is_gone_at_once(payments: Payments) -> None:
    await payments.consent()

    assert await erase(payments) == payments_pb2.EraseCustomerResponse()
    assert not (await mandate(payments)).HasField("evidence")


async def test_answers_from_before_are_forgotten(payments: Payments) -> None:
    await payments.consent()
    request = payments_pb2.RevokeMandateRequest(name=MANDATE, request_id=str(uuid.uuid4()))
    assert (await payments.call(request)).HasField("evidence")
    await erase(payments)

    assert await payments.call(request) == payments_pb2.Mandate()


async def test_evidence_is_encrypted(payments: Payments) -> None:
    await payments.consent()

    [(evidence,)] = await payments.rows("SELECT evidence FROM mandates")
    assert b"coffee" not in evidence
    assert (await mandate(payments)).evidence.text == "Charge me for coffee."
