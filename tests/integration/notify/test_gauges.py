"""What operators see of notify is what is in its database."""

import asyncio
from datetime import timedelta

from services.notify.domain.phone_changes import PHONE_CHANGE_WAIT
from services.notify.store.gauges import GAUGE_QUERIES
from services.runtime.app.gauge_collector import GaugeCollector
from services.runtime.auth.call_context import act_for_all
from tests.integration.notify.suite import Notify

OTHER_PHONE = "+491709999999"


async def seen(notify: Notify) -> dict[tuple[str, ...], float]:
    """The gauges of phones, by name and work."""
    collector = GaugeCollector(notify.database, notify.clock, GAUGE_QUERIES)

    async def read() -> dict[tuple[str, ...], float]:
        # As the worker that it is: a caller may not see how much others do.
        act_for_all("notify")
        return {
            (gauge.name, *gauge.labels.values()): value
            for gauge, _, value in await collector.read()
            if "phone" in gauge.name
        }

    return await asyncio.create_task(read())


async def test_a_phone_that_waits_is_counted_and_late_once_it_is_not_bound_in_time(
    notify: Notify,
) -> None:
    await notify.contact()
    await notify.bind()
    await notify.bind(OTHER_PHONE)
    in_time = await seen(notify)
    notify.clock.move(PHONE_CHANGE_WAIT + timedelta(minutes=5))
    late = await seen(notify)
    await notify.change_phones()
    bound = await seen(notify)

    waiting, change = (
        ("recurring.phone_changes.waiting",),
        ("recurring.phones.oldest.lateness", "change"),
    )
    assert [(it[waiting], it[change]) for it in (in_time, late, bound)] == [
        (1, 0),
        (1, 300),
        (0, 0),
    ]


async def test_a_phone_that_was_silent_for_too_long_is_late_until_it_lapses(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    notify.clock.move(timedelta(days=400, minutes=5))
    late = await seen(notify)
    await notify.lapse_silent_phones()
    lapsed = await seen(notify)

    silence = ("recurring.phones.oldest.lateness", "silence")
    assert (late[silence], lapsed[silence]) == (300, 0)
