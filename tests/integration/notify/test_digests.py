"""More facts than messages of a day: they are said together, later, and hold up nothing that counts."""

from datetime import timedelta

import pytest
from recurring.notify.v1 import notify_pb2

from services.notify.application import digests
from services.notify.domain.notices import Channel
from services.notify.store import attempts
from services.notify.workers import deliveries
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Connection
from tests.integration.notify.suite import (
    ANN,
    MERCHANT,
    NOW,
    Notify,
    order_skipped,
    order_upcoming,
)

DAY = timedelta(days=1)


async def allow(notify: Notify, day_max: int) -> None:
    settings = notify_pb2.NotifySettings(
        name=f"{MERCHANT}/notifySettings", daily_message_max=day_max
    )
    request = notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings)
    await notify.call("UpdateNotifySettings", request)


async def skip(notify: Notify, cycle: int) -> None:
    await notify.receive(order_skipped(cycle=cycle), event_key=f"skip-{cycle}")
    await notify.deliver()


async def preview(
    notify: Notify, kind: "notify_pb2.NoticeKind.ValueType"
) -> notify_pb2.ChannelPlan:
    request = notify_pb2.PreviewNoticesRequest(parent=ANN, kind=kind)
    plans: list[notify_pb2.ChannelPlan] = list(
        (await notify.call("PreviewNotices", request)).channel_plans
    )
    return plans[0]


async def test_what_is_above_the_messages_of_a_day_is_one_message_later(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await allow(notify, 1)
    codes = len(await notify.inbox())
    for cycle in (1, 2, 3):
        await skip(notify, cycle)
    assert len(await notify.inbox()) == codes + 1

    held = (await notify.notices())[-1].deliveries[0]
    assert (notify_pb2.Notice.Delivery.State.Name(held.state), held.failure_code) == (
        "PENDING",
        "DIGEST",
    )
    planned = await preview(notify, notify_pb2.ORDER_SKIPPED)
    assert planned.reason == notify_pb2.ChannelPlan.DIGEST
    assert planned.send_time.ToDatetime(NOW.tzinfo) == NOW + DAY

    notify.clock.move(DAY)
    await notify.deliver()
    [text] = (await notify.inbox())[codes + 1 :]
    assert text.count("Your order Coffee") == 2
    second, third = (notice.deliveries[0] for notice in (await notify.notices())[-2:])
    assert second.text == third.text == text
    assert second.digest_notice == third.digest_notice == (await notify.notices())[-2].name
    assert {second.state, third.state} == {notify_pb2.Notice.Delivery.DELIVERED}


class ProcessEnds(Exception):
    pass


class Ending:
    """A crash point that is reached."""

    def reached(self) -> None:
        raise ProcessEnds


async def test_what_a_process_has_held_when_it_ends_is_sent_once_by_the_next(
    notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    await notify.contact()
    await notify.bind()
    await allow(notify, 1)
    codes = len(await notify.inbox())
    await skip(notify, 1)
    with monkeypatch.context() as patched:
        patched.setattr(deliveries, "_HELD", Ending())
        with pytest.raises(ProcessEnds):
            await skip(notify, 2)
    await notify.deliver()
    assert len(await notify.inbox()) == codes + 1

    notify.clock.move(DAY)
    await notify.deliver()
    assert len(await notify.inbox()) == codes + 2


async def test_two_processes_that_gather_messages_differently_say_each_notice_once(
    notify: Notify,
) -> None:
    await notify.contact()
    await notify.bind()
    await allow(notify, 1)
    codes = len(await notify.inbox())
    act_for_all("notify")
    await notify.receive(order_skipped(cycle=1), event_key="skip-1")
    async with notify.database.begin() as tx:
        [alone] = await sms_due(tx)
    await notify.receive(order_skipped(cycle=2), event_key="skip-2")
    async with notify.database.begin() as tx:
        both = digests.gathered(await sms_due(tx), {}, notify.clock.now())[0]
        assert len(both[0].members) == 1
        assert await attempts.begin(tx, [alone], notify.clock.now()) == [alone]
    async with notify.database.begin() as tx:
        assert await attempts.begin(tx, both, notify.clock.now()) == []
        # Neither is said by a message that is not sent.
        assert [it.delivery.digest_notice for it in await sms_due(tx)] == ["", ""]
    await notify.deliver()
    said = (await notify.inbox())[codes:]
    assert [text.count("Your order Coffee") for text in said] == [1, 1]


async def sms_due(tx: Connection) -> list[attempts.Outgoing]:
    due = await attempts.due(
        tx, range(256), NOW + DAY, 10, channel=Channel.SMS, has_attachment=False
    )
    return [it._replace(text_is_new=True) for it in due]


async def test_what_is_held_delays_no_notice_that_counts(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await allow(notify, 1)
    for cycle in (1, 2):
        await skip(notify, cycle)
    await notify.receive(order_upcoming(cycle=3), event_key="upcoming")
    await notify.deliver()

    assert "comes to 12.50 EUR" in (await notify.inbox())[-1]


async def test_a_message_of_several_that_fails_is_sent_again_as_it_was(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await allow(notify, 1)
    for cycle in (1, 2, 3):
        await skip(notify, cycle)
    await notify.outage("sms", on=True)
    notify.clock.move(DAY)
    await notify.deliver()
    await notify.rename("Anna")
    await notify.outage("sms", on=False)
    notify.clock.move(timedelta(seconds=10))
    await notify.deliver()

    assert [notice.deliveries[0].state for notice in (await notify.notices())[-2:]] == [
        notify_pb2.Notice.Delivery.DELIVERED
    ] * 2
    texts = await notify.inbox()
    assert [text for text in texts if "Anna" in text] == []
    assert len([text for text in texts if text.count("Your order Coffee") == 2]) == 1
