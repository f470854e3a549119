"""Payment methods and mandates: what a platform records, and why it is refused."""

import uuid
from datetime import timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import available_timezones

import pytest
from google.protobuf import duration_pb2, field_mask_pb2
from recurring.payments.v1 import payments_pb2

from services.payments.application.mandates import pause_all
from services.payments.domain.consent import PauseReason
from services.payments.domain.keys import CustomerId, MandateId, MandateKey, MerchantId
from services.runtime.crypto.encryption import UnreadableError
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money, to_timestamp
from services.runtime.time_zones import is_time_zone
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    DAY,
    MANDATE,
    NOW,
    VISA,
    Payments,
    State,
    ceiling,
    charge_name,
    order,
)


async def test_a_payment_method_shows_its_card_and_not_its_token(payments: Payments) -> None:
    created = await payments.payment_method()
    assert (created.brand, created.last4, created.provider_token) == ("visa", "4242", "")
    assert await payments.call(payments_pb2.GetPaymentMethodRequest(name=VISA)) == created


async def test_a_token_that_the_provider_does_not_know_is_refused(payments: Payments) -> None:
    with pytest.raises(Problem) as refused:
        await payments.payment_method("pm_of_nobody")
    assert refused.value.reason == "PROVIDER_TOKEN_UNKNOWN"


async def test_a_token_is_never_taken_for_an_address(payments: Payments) -> None:
    with pytest.raises(Problem) as refused:
        await payments.payment_method("../refunds")
    assert refused.value.violations[0].field == "payment_method.provider_token"


async def test_the_same_request_registers_a_payment_method_once(payments: Payments) -> None:
    request = payments_pb2.CreatePaymentMethodRequest(
        parent=ANN,
        payment_method_id="visa",
        payment_method=payments_pb2.PaymentMethod(provider_token="pm_card_visa"),
        request_id=str(uuid.uuid4()),
    )
    first = await payments.call(request)
    # The second answer is the remembered one, so it needs no provider.
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    assert await payments.call(request) == first
    request.payment_method_id = "other"
    with pytest.raises(Problem) as refused:
        await payments.call(request)
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_while_the_provider_is_out_nothing_is_registered(payments: Payments) -> None:
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    with pytest.raises(ConnectionError):
        await payments.payment_method()


async def test_a_mandate_is_kept_as_it_was_given(payments: Payments) -> None:
    await payments.payment_method()
    created = await payments.mandate(
        period_ceiling=ceiling(30_000), valid_until_time=to_timestamp(NOW + DAY)
    )
    assert created.state == payments_pb2.Mandate.ACTIVE
    assert created.valid_from_time == to_timestamp(NOW)
    assert await payments.call(payments_pb2.GetMandateRequest(name=MANDATE)) == created


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"payment_method": VISA.replace("/ann/", "/bob/")}, "mandate.payment_method"),
        ({"ceiling_minor": 0}, "mandate.charge_ceiling"),
        ({"period_ceiling": ceiling(100, "USD")}, "mandate.period_ceiling.amount.currency_code"),
        (
            {"standing_orders": ["merchants/umbrella/standingOrders/tea"]},
            "mandate.standing_orders[0]",
        ),
        ({"lead": duration_pb2.Duration(nanos=1)}, "mandate.lead"),
        ({"time_zone": "localtime"}, "mandate.time_zone"),
        ({"valid_until_time": to_timestamp(NOW)}, "mandate.valid_until_time"),
        (
            {
                "valid_from_time": to_timestamp(NOW + 2 * DAY),
                "valid_until_time": to_timestamp(NOW + DAY),
            },
            "mandate.valid_until_time",
        ),
    ],
)
async def test_a_mandate_that_makes_no_sense_is_refused_by_field(
    payments: Payments, fields: dict[str, Any], field: str
) -> None:
    await payments.payment_method()
    with pytest.raises(Problem) as refused:
        await payments.mandate(**fields)
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_a_consent_without_evidence_is_refused(payments: Payments) -> None:
    request = payments_pb2.CreateMandateRequest(
        parent=ANN,
        mandate_id="coffee",
        mandate=payments_pb2.Mandate(payment_method=VISA, charge_ceiling=to_money(100, "EUR")),
    )
    with pytest.raises(Problem) as refused:
        await payments.call(request)
    assert [violation.field for violation in refused.value.violations] == ["mandate.evidence"]


async def test_nothing_is_charged_until_the_customer_has_confirmed(payments: Payments) -> None:
    await payments.payment_method()
    request = payments_pb2.CreateMandateRequest(
        parent=ANN,
        mandate_id="coffee",
        mandate=payments_pb2.Mandate(
            payment_method=VISA, charge_ceiling=to_money(10_000, "EUR"), await_confirmation=True
        ),
    )
    created = await payments.call(request)
    assert (created.state, created.HasField("evidence")) == (payments_pb2.Mandate.PENDING, False)
    await payments.announce(payments.notice(order(1)), payments.notice(order(2)))
    await payments.fall_due(payments.due(order(1)))
    await payments.work()
    evidence = payments_pb2.Mandate.Evidence(text="Yes.", accept_time=to_timestamp(NOW))
    confirm = payments_pb2.ConfirmMandateRequest(name=MANDATE, evidence=evidence)
    confirmed = await payments.call(confirm)
    await payments.fall_due(payments.due(order(2)))
    await payments.work()

    refused, paid = [await payments.charge(charge_name(number)) for number in (1, 2)]
    assert refused.refusal_reasons == [payments_pb2.MANDATE_PENDING]
    assert (confirmed.state, confirmed.evidence.text) == (payments_pb2.Mandate.ACTIVE, "Yes.")
    assert paid.state == State.SUCCEEDED


async def test_a_paused_mandate_is_charged_again_once_it_is_resumed(payments: Payments) -> None:
    await payments.consent()
    await payments.announce(payments.notice(order(1)), payments.notice(order(2)))
    paused = await payments.call(payments_pb2.PauseMandateRequest(name=MANDATE))
    assert paused.pause_reason == payments_pb2.Mandate.REQUESTED
    await payments.fall_due(payments.due(order(1)))
    await payments.work()
    resumed = await payments.call(payments_pb2.ResumeMandateRequest(name=MANDATE))
    assert (resumed.state, resumed.pause_reason) == (payments_pb2.Mandate.ACTIVE, 0)
    await payments.fall_due(payments.due(order(2)))
    await payments.work()

    refused, paid = [await payments.charge(charge_name(number)) for number in (1, 2)]
    assert refused.refusal_reasons == [payments_pb2.MANDATE_PAUSED]
    assert paid.state == State.SUCCEEDED


async def test_a_dispute_pauses_what_is_active_and_nothing_else(payments: Payments) -> None:
    await payments.consent()
    other = f"{ANN}/mandates/other"
    await payments.mandate(other)
    await payments.call(payments_pb2.RevokeMandateRequest(name=other))
    keys = [MandateKey(MerchantId("acme"), CustomerId("ann"), MandateId(name))
            for name in ("coffee", "other", "gone")]  # fmt: skip
    async with payments.database.begin() as tx:
        assert await pause_all(tx, keys, PauseReason.DISPUTED, NOW) == {keys[0]}
    async with payments.database.begin() as tx:
        assert await pause_all(tx, keys, PauseReason.DISPUTED, NOW) == set()

    states = [
        (await payments.call(payments_pb2.GetMandateRequest(name=name))).state
        for name in (MANDATE, other)
    ]
    assert states == [payments_pb2.Mandate.PAUSED, payments_pb2.Mandate.REVOKED]


async def test_a_mandate_needs_a_payment_method_that_exists(payments: Payments) -> None:
    with pytest.raises(Problem) as refused:
        await payments.mandate()
    assert refused.value.reason == "PAYMENT_METHOD_NOT_FOUND"


async def test_no_attempt_begins_after_a_mandate_is_revoked(payments: Payments) -> None:
    await payments.consent("pm_sandbox_declineFirstAttempt")
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await payments.pass_time(5 * DAY)

    charge = await payments.charge()
    assert charge.state == State.REFUSED
    assert charge.refusal_reasons == [payments_pb2.MANDATE_REVOKED]
    assert len(charge.attempts) == 1


async def test_revoking_again_changes_nothing(payments: Payments) -> None:
    await payments.consent()
    first = await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    payments.clock.move(DAY)
    assert await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE)) == first


async def test_a_stale_etag_revokes_nothing(payments: Payments) -> None:
    await payments.consent()
    with pytest.raises(Problem) as refused:
        await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE, etag='"0"'))
    assert refused.value.reason == "ETAG_MISMATCH"


async def test_a_months_ceiling_counts_what_was_paid_in_that_month(payments: Payments) -> None:
    await payments.consent(period_ceiling=ceiling(2 * AMOUNT_MINOR - 1))
    await payments.announce(*(payments.notice(order(number)) for number in (1, 2, 3)))
    await payments.fall_due(payments.due(order(1)))
    await payments.work()
    await payments.fall_due(payments.due(order(2)))
    await payments.work()
    # 31 January is followed by a new month.
    await payments.pass_time(DAY)
    await payments.fall_due(payments.due(order(3)))
    await payments.work()

    states = [(await payments.charge(charge_name(number))).state for number in (1, 2, 3)]
    assert states == [State.SUCCEEDED, State.REFUSED, State.SUCCEEDED]


async def test_a_month_is_that_of_the_customers_zone(payments: Payments) -> None:
    await payments.consent(period_ceiling=ceiling(AMOUNT_MINOR), time_zone="Pacific/Auckland")
    await payments.announce(*(payments.notice(order(number)) for number in (1, 2, 3)))
    # At 08:00 on 31 January (UTC) it is 21:00 in Auckland: the month ends there three hours later.
    for number, hours in ((1, 2), (2, 1), (3, 0)):
        await payments.fall_due(payments.due(order(number)))
        await payments.work()
        payments.clock.move(timedelta(hours=hours))

    states = [(await payments.charge(charge_name(number))).state for number in (1, 2, 3)]
    assert states == [State.SUCCEEDED, State.REFUSED, State.SUCCEEDED]


async def test_a_mandate_is_for_the_standing_orders_that_it_names(payments: Payments) -> None:
    of_tea = "merchants/acme/standingOrders/tea"
    await payments.consent(standing_orders=[of_tea])
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    charge = await payments.charge()
    assert [*charge.refusal_reasons] == [payments_pb2.MANDATE_OUT_OF_SCOPE]

    def check(standing_order: str) -> payments_pb2.MandateCheck:
        return payments_pb2.MandateCheck(
            mandate=MANDATE,
            standing_order=standing_order,
            amount=to_money(AMOUNT_MINOR, "EUR"),
            charge_time=to_timestamp(NOW),
        )

    checks = [check(of_tea), check("merchants/acme/standingOrders/coffee")]
    request = payments_pb2.BatchCheckMandatesRequest(checks=checks)
    answer = await payments.api.BatchCheckMandates(request, None)
    assert [list(result.reasons) for result in answer.results] == [
        [], [payments_pb2.MANDATE_OUT_OF_SCOPE],
    ]  # fmt: skip


async def test_a_charge_waits_for_the_lead_that_its_mandate_promises(payments: Payments) -> None:
    await payments.consent(lead=duration_pb2.Duration(seconds=5 * 24 * 60 * 60))
    await payments.announce()
    await payments.fall_due()
    await payments.pass_time(5 * DAY - timedelta(seconds=1))
    assert (await payments.charge()).state == State.SCHEDULED
    await payments.pass_time(timedelta(seconds=1))
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_evidence_is_kept_with_the_hash_of_what_was_shown(payments: Payments) -> None:
    await payments.payment_method()
    evidence = payments_pb2.Mandate.Evidence(
        text="Charge me for tea.",
        accept_time=to_timestamp(NOW),
        text_version="2026-01",
        channel=payments_pb2.Mandate.PHONE,
        text_sha256="0" * 64,
    )
    request = payments_pb2.CreateMandateRequest(
        parent=ANN,
        mandate_id="coffee",
        mandate=payments_pb2.Mandate(
            payment_method=VISA, charge_ceiling=to_money(100, "EUR"), evidence=evidence
        ),
    )
    with pytest.raises(Problem) as refused:
        await payments.call(request)
    assert [it.field for it in refused.value.violations] == ["mandate.evidence.text_sha256"]
    request.mandate.evidence.text_sha256 = evidence.text_sha256 = sha256(
        b"Charge me for tea."
    ).hexdigest()
    assert (await payments.call(request)).evidence == evidence


def amendment(
    *,
    with_consent: bool = False,
    **terms: Any,  # noqa: ANN401 - fields of a message
) -> payments_pb2.AmendMandateRequest:
    evidence = payments_pb2.Mandate.Evidence(text="More.", accept_time=to_timestamp(NOW))
    return payments_pb2.AmendMandateRequest(
        name=MANDATE,
        terms=payments_pb2.MandateTerms(**terms),
        update_mask=field_mask_pb2.FieldMask(paths=list(terms)),
        evidence=evidence if with_consent else None,
    )


async def test_a_charge_is_judged_by_what_is_agreed_to_when_it_is_made(payments: Payments) -> None:
    await payments.consent()
    await payments.announce(*(payments.notice(order(number)) for number in (1, 2, 3)))
    lower = amendment(charge_ceiling=to_money(AMOUNT_MINOR - 1, "EUR"))
    higher = amendment(charge_ceiling=to_money(2 * AMOUNT_MINOR, "EUR"), with_consent=True)
    for number, change in ((1, lower), (2, higher)):
        await payments.fall_due(payments.due(order(number)))
        await payments.work()
        await payments.call(change)
    # The customer agreed to more, and was told of no more.
    await payments.fall_due(payments.due(order(3), amount_minor=AMOUNT_MINOR + 1))
    await payments.work()

    paid, *refused = [await payments.charge(charge_name(number)) for number in (1, 2, 3)]
    assert paid.state == State.SUCCEEDED
    assert [[*charge.refusal_reasons] for charge in refused] == [
        [payments_pb2.ABOVE_CHARGE_CEILING], [payments_pb2.ABOVE_NOTIFIED_AMOUNT],
    ]  # fmt: skip


async def test_a_shorter_lead_lets_no_charge_come_before_its_notice_promised(
    payments: Payments,
) -> None:
    await payments.consent(lead=duration_pb2.Duration(seconds=5 * 24 * 60 * 60))
    await payments.announce(payments.notice(not_before=NOW + 5 * DAY))
    await payments.call(amendment(lead=None, with_consent=True))
    await payments.fall_due()
    await payments.pass_time(5 * DAY - timedelta(seconds=1))
    assert (await payments.charge()).state == State.SCHEDULED
    await payments.pass_time(timedelta(seconds=1))
    assert (await payments.charge()).state == State.SUCCEEDED


async def test_the_consent_to_one_amendment_does_not_open_as_that_to_another(
    payments: Payments,
) -> None:
    await payments.consent()
    for factor in (2, 3):
        ceiling = to_money(factor * 10_000, "EUR")
        await payments.call(amendment(charge_ceiling=ceiling, with_consent=True))
    await payments.rows(
        "UPDATE mandate_amendments SET evidence = (SELECT evidence FROM mandate_amendments"
        " WHERE version = 2) WHERE version = 3 RETURNING version"
    )
    with pytest.raises(UnreadableError):
        await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))


async def test_a_mandate_that_names_no_zone_keeps_that_of_its_merchant(payments: Payments) -> None:
    await payments.consent()

    async def zone_of_new(mandate: str) -> str:
        return (await payments.mandate(f"{ANN}/mandates/{mandate}")).time_zone

    async def settle_in(time_zone: str) -> None:
        settings = payments_pb2.DocumentSettings(
            name="merchants/acme/documentSettings",
            seller=payments_pb2.Seller(display_name="Acme"),
            payment_documents=payments_pb2.DocumentSettings.NO_DOCUMENTS,
            time_zone=time_zone,
        )
        await payments.call(payments_pb2.UpdateDocumentSettingsRequest(document_settings=settings))

    assert await zone_of_new("before") == "UTC"
    await settle_in("Asia/Tokyo")
    assert await zone_of_new("after") == "Asia/Tokyo"
    # What was agreed to stays; who amends it to none agrees to the merchant's.
    assert (await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))).time_zone == "UTC"
    amended = await payments.call(amendment(time_zone="", with_consent=True))
    assert amended.time_zone == "Asia/Tokyo"


async def test_the_database_knows_every_zone_that_a_mandate_may_have(payments: Payments) -> None:
    known = {name for (name,) in await payments.rows("SELECT name FROM pg_timezone_names")}
    assert {name for name in available_timezones() if is_time_zone(name)} <= known


async def test_any_so_many_days_keep_within_a_rolling_ceiling(payments: Payments) -> None:
    await payments.consent(period_ceiling=ceiling(2 * AMOUNT_MINOR, rolling_days=3))
    await payments.announce(*(payments.notice(order(number)) for number in range(1, 6)))
    for number in range(1, 6):
        await payments.fall_due(payments.due(order(number)))
        await payments.work()
        await payments.pass_time(DAY)

    states = [(await payments.charge(charge_name(number))).state for number in range(1, 6)]
    assert states == [
        State.SUCCEEDED, State.SUCCEEDED, State.REFUSED, State.SUCCEEDED, State.SUCCEEDED,
    ]  # fmt: skip


async def test_what_is_planned_counts_in_the_days_before_each_check(payments: Payments) -> None:
    await payments.consent(period_ceiling=ceiling(1000, rolling_days=30))

    def check(days: int) -> payments_pb2.MandateCheck:
        at = to_timestamp(NOW + days * DAY)
        return payments_pb2.MandateCheck(
            standing_order="merchants/acme/standingOrders/coffee",
            mandate=MANDATE,
            amount=to_money(400, "EUR"),
            charge_time=at,
        )

    planned = payments_pb2.PlannedCharges(mandate=MANDATE)
    planned.charges.add(charge_time=to_timestamp(NOW + DAY), amount=to_money(400, "EUR"))
    request = payments_pb2.BatchCheckMandatesRequest(
        checks=[check(0), check(1), check(30), check(31)], planned_charges=[planned], in_turn=True
    )
    answer = await payments.api.BatchCheckMandates(request, None)
    above = [payments_pb2.ABOVE_PERIOD_CEILING]
    # The planned charge is not there yet on the first day, and not any more on the last.
    assert [list(result.reasons) for result in answer.results] == [[], above, [], []]


async def test_each_attempt_and_refusal_is_explained_by_what_the_guard_compared(
    payments: Payments,
) -> None:
    await payments.consent(period_ceiling=ceiling(2 * AMOUNT_MINOR - 1))
    await payments.announce(payments.notice(order(1)), payments.notice(order(2)))
    for number in (1, 2):
        await payments.fall_due(payments.due(order(number)))
        await payments.work()
    paid, refused = [
        await payments.call(payments_pb2.ExplainChargeRequest(name=charge_name(number)))
        for number in (1, 2)
    ]
    [permit], [verdict] = paid.verdicts, refused.verdicts
    assert (permit.attempt, list(permit.causes)) == (1, [])
    assert permit.period_spent_amount == to_money(0, "EUR")
    assert permit.period_start_time == to_timestamp(NOW.replace(day=1, hour=0))
    assert permit.notice == paid.charge.notice
    assert (permit.amount, permit.payment_method) == (to_money(AMOUNT_MINOR, "EUR"), VISA)
    [cause] = verdict.causes
    assert (cause.reason, cause.source) == (payments_pb2.ABOVE_PERIOD_CEILING, "mandate coffee")
    assert verdict.period_spent_amount == to_money(AMOUNT_MINOR, "EUR")
    assert not refused.charge.attempts


async def test_many_mandates_are_checked_in_the_order_of_asking(payments: Payments) -> None:
    await payments.consent(period_ceiling=ceiling(AMOUNT_MINOR))
    await payments.announce()
    await payments.fall_due()
    await payments.work()

    def check(amount_minor: int, at: timedelta, mandate: str = MANDATE) -> Any:  # noqa: ANN401
        return payments_pb2.MandateCheck(
            standing_order="merchants/acme/standingOrders/coffee",
            mandate=mandate,
            amount=to_money(amount_minor, "EUR"),
            charge_time=to_timestamp(NOW + at),
        )

    request = payments_pb2.BatchCheckMandatesRequest(
        checks=[
            check(100, timedelta(0)),
            check(100, DAY),
            check(10_001, DAY),
            check(100, DAY, f"{MANDATE}-x"),
            check(100, -DAY),
        ]
    )
    answer = await payments.api.BatchCheckMandates(request, None)
    assert [list(result.reasons) for result in answer.results] == [
        [payments_pb2.ABOVE_PERIOD_CEILING],
        [],
        [payments_pb2.ABOVE_CHARGE_CEILING, payments_pb2.ABOVE_PERIOD_CEILING],
        [payments_pb2.MANDATE_NOT_FOUND],
        [payments_pb2.MANDATE_NOT_YET_VALID, payments_pb2.ABOVE_PERIOD_CEILING],
    ]


async def test_another_merchants_platform_sees_nothing(payments: Payments) -> None:
    await payments.consent()
    with pytest.raises(Problem) as refused:
        await payments.call(payments_pb2.GetMandateRequest(name=MANDATE), merchant="umbrella")
    assert refused.value.reason == "MERCHANT_FORBIDDEN"


async def test_charges_are_listed_page_by_page_for_one_customer_or_all(payments: Payments) -> None:
    bob = ANN.replace("ann", "bob")
    await payments.fall_due(
        *(payments.due(order(number)) for number in (1, 2, 3)),
        payments.due(order(4), customer=bob),
    )

    async def names(parent: str) -> list[str]:
        names, token = [], ""
        while True:
            page = await payments.call(
                payments_pb2.ListChargesRequest(parent=parent, page_size=2, page_token=token)
            )
            names += [charge.name for charge in page.charges]
            token = page.next_page_token
            if not token:
                return names

    of_ann = [charge_name(number) for number in (1, 2, 3)]
    assert await names(ANN) == of_ann
    assert await names("merchants/acme/customers/-") == [*of_ann, charge_name(4, bob)]
