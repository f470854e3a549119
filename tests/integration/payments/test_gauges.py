"""What operators see of payments is what is in its database."""

import asyncio
from datetime import timedelta

from services.payments.store.gauges import GAUGE_QUERIES
from services.runtime.app.gauge_collector import GaugeCollector
from services.runtime.auth.call_context import act_for_all
from tests.integration.payments.suite import Payments


async def seen(payments: Payments) -> dict[str, float]:
    collector = GaugeCollector(payments.database, payments.clock, GAUGE_QUERIES)

    async def read() -> dict[str, float]:
        # As the worker that it is: a caller may not see how much others do.
        act_for_all("payments")
        return {gauge.name: value for gauge, _, value in await collector.read()}

    return await asyncio.create_task(read())


async def charged(payments: Payments, card: str) -> None:
    await payments.consent(card)
    await payments.announce()
    await payments.fall_due()
    await payments.work()


async def test_nothing_is_late_in_an_empty_database(payments: Payments) -> None:
    shown = await seen(payments)
    # No process runs.
    del shown["recurring.outbox.size"], shown["recurring.buckets.unleased"]
    assert set(shown.values()) == {0.0}


async def test_a_charge_that_is_due_and_not_tried_is_late(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    payments.clock.move(timedelta(minutes=5))
    shown = await seen(payments)
    assert (shown["recurring.charges.due"], shown["recurring.charges.oldest.lateness"]) == (1, 300)


async def test_an_unknown_outcome_grows_old_until_it_is_known(payments: Payments) -> None:
    await charged(payments, "pm_sandbox_timeoutAfterCharge")
    payments.clock.move(timedelta(seconds=20))
    before = await seen(payments)
    await payments.pass_time(timedelta(minutes=1))
    after = await seen(payments)
    names = ("recurring.charges.unknown", "recurring.charges.unknown.oldest.age")
    assert [before[name] for name in names] == [1, 20]
    assert [after[name] for name in names] == [0, 0]


async def test_events_that_nobody_publishes_are_counted_and_grow_old(payments: Payments) -> None:
    await charged(payments, "pm_card_visa")
    payments.clock.move(timedelta(minutes=2))
    shown = await seen(payments)
    assert shown["recurring.outbox.unpublished"] == len(await payments.events())
    assert shown["recurring.outbox.oldest.age"] == 120


async def test_a_reminder_that_is_due_and_not_sent_is_late(payments: Payments) -> None:
    await payments.fall_due(payments.due_on_notice(timedelta(days=3)))
    payments.clock.move(timedelta(days=2, minutes=5))
    assert (await seen(payments))["recurring.reminders.oldest.lateness"] == 300
