"""Customers hear of a card that expires before it does, once, unless its network has renewed it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.type import date_pb2
from recurring.payments.v1 import payments_pb2

from services.payments.clients.providers import Providers
from services.payments.workers import Workers
from tests.integration.payments.suite import ANN, DAY, MANDATE, NOW, VISA, Payments, Process
from tests.integration.payments.test_payment_methods import detach, get, replace, set_fallback

MARCH = "pm_sandbox_expires202603"
MARCH_ENDS = datetime(2026, 4, 1, tzinfo=UTC)


async def expiring(payments: Payments) -> list[Any]:
    events = await payments.events()
    return [event for event in events if event.DESCRIPTOR.name == "PaymentMethodExpiring"]


async def until(payments: Payments, moment: datetime) -> None:
    await payments.pass_time(moment - payments.clock.now())


async def test_the_customer_is_told_a_month_before_and_once(payments: Payments) -> None:
    await payments.consent(MARCH)
    await until(payments, MARCH_ENDS - 30 * DAY - timedelta(seconds=1))
    assert await expiring(payments) == []
    await until(payments, MARCH_ENDS - 30 * DAY)
    [event] = await expiring(payments)
    assert (event.payment_method, event.customer, event.brand, event.last4) == (
        VISA, ANN, "visa", "7010",
    )  # fmt: skip
    assert event.expire_date == date_pb2.Date(year=2026, month=3)
    await until(payments, MARCH_ENDS + 90 * DAY)
    assert len(await expiring(payments)) == 1


async def test_a_card_that_its_network_renews_is_kept_and_nobody_is_told(
    payments: Payments,
) -> None:
    await payments.consent(MARCH)
    renewed = {"exp_year": 2030}
    await payments.sandbox.ask("PUT", f"/provider/cards/{MARCH}", json=renewed)
    await until(payments, MARCH_ENDS + DAY)
    assert await expiring(payments) == []
    method = await get(payments, VISA)
    assert method.expire_date == date_pb2.Date(year=2030, month=3)
    assert method.state == payments_pb2.PaymentMethod.ACTIVE


async def test_a_card_that_is_renewed_after_the_notice_is_not_expired(payments: Payments) -> None:
    await payments.consent(MARCH)
    await until(payments, MARCH_ENDS - DAY)
    await payments.sandbox.ask("PUT", f"/provider/cards/{MARCH}", json={"exp_year": 2030})
    await until(payments, MARCH_ENDS)
    assert (await get(payments, VISA)).state == payments_pb2.PaymentMethod.ACTIVE
    await until(payments, MARCH_ENDS.replace(year=2030))
    assert [event.expire_date.year for event in await expiring(payments)] == [2026, 2030]


async def test_nobody_is_told_of_a_card_that_nothing_is_charged_by(payments: Payments) -> None:
    await payments.payment_method(MARCH)
    await until(payments, MARCH_ENDS - 10 * DAY)
    assert await expiring(payments) == []
    await payments.mandate()
    await until(payments, MARCH_ENDS - 9 * DAY)
    assert len(await expiring(payments)) == 1


async def test_a_fallback_that_expires_is_told_of_too(payments: Payments) -> None:
    await payments.payment_method()
    await payments.payment_method(MARCH, f"{ANN}/paymentMethods/spare")
    await payments.mandate(payment_method="")
    await set_fallback(payments, f"{ANN}/paymentMethods/spare", 1)
    await until(payments, MARCH_ENDS - 10 * DAY)
    assert len(await expiring(payments)) == 1


async def test_a_card_that_was_replaced_detached_or_revoked_is_not_told_of(
    payments: Payments,
) -> None:
    await payments.consent(MARCH)
    await replace(payments, VISA, "next", MARCH)
    await payments.call(payments_pb2.RevokeMandateRequest(name=MANDATE))
    await detach(payments, f"{ANN}/paymentMethods/next")
    await until(payments, MARCH_ENDS + DAY)
    assert await expiring(payments) == []


async def test_a_charge_that_is_announced_for_later_brings_the_notice_forward(
    payments: Payments,
) -> None:
    payments.due_work = Process(
        payments.database,
        payments.clock,
        Workers(payments.database, payments.clock, Providers([payments.provider]), DAY),
    )
    await payments.consent(MARCH)
    await until(payments, MARCH_ENDS - 14 * DAY)
    assert await expiring(payments) == []
    await payments.announce(payments.notice(not_before=MARCH_ENDS + DAY))
    await payments.work()
    assert len(await expiring(payments)) == 1
    await payments.announce(payments.notice(not_before=MARCH_ENDS + 2 * DAY))
    await until(payments, MARCH_ENDS + DAY)
    assert len(await expiring(payments)) == 1


async def test_a_provider_that_is_down_delays_the_notice_and_loses_none(payments: Payments) -> None:
    await payments.consent(MARCH)
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    await until(payments, MARCH_ENDS - 30 * DAY + timedelta(hours=3))
    assert await expiring(payments) == []
    await payments.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    await payments.pass_time(timedelta(hours=1))
    assert len(await expiring(payments)) == 1


async def test_a_card_that_expires_this_month_is_told_of_at_once(payments: Payments) -> None:
    await payments.consent("pm_sandbox_expires202601")
    await payments.work()
    assert payments.clock.now() == NOW
    assert len(await expiring(payments)) == 1


async def test_two_processes_tell_once(payments: Payments) -> None:
    await payments.consent("pm_sandbox_expires202601")
    first, second = payments.process(), payments.process()
    await first.check_expiry()
    await second.check_expiry()
    assert len(await expiring(payments)) == 1
