"""After an outage only what is still true goes out, in its order."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from google.protobuf.message import Message
from recurring.notify.v1 import events_pb2, notify_pb2
from recurring.payments.v1 import events_pb2 as payments
from recurring.scheduler.v1 import events_pb2 as scheduler
from recurring.scheduler.v1 import scheduler_pb2

from services.notify.domain.phone_changes import PHONE_CHANGE_WAIT
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.notify.suite import (
    ANN,
    DUE,
    NOW,
    PHONE,
    UNDELIVERABLE_PHONE,
    Notify,
    order_confirmed,
    order_ref,
    order_skipped,
    order_upcoming,
)

Delivery = notify_pb2.Notice.Delivery
CHANGES = scheduler.StandingOrderChanged
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def charge_ref() -> payments.ChargeRef:
    return payments.ChargeRef(
        order=order_ref().order, customer=ANN, amount=to_money(1250, "EUR"), title="Coffee",
        time_zone="Europe/Berlin",
    )  # fmt: skip


def order_cancelled() -> scheduler.OrderCancelled:
    reason = scheduler_pb2.STANDING_ORDER_CANCELLED
    return scheduler.OrderCancelled(ref=order_ref(), reason=reason)


def order_held(*reasons: scheduler_pb2.OrderReason.ValueType) -> scheduler.OrderHeld:
    return scheduler.OrderHeld(ref=order_ref(), reasons=reasons or (scheduler_pb2.OUT_OF_STOCK,))


def requested() -> payments.PaymentRequested:
    return payments.PaymentRequested(ref=charge_ref(), expire_time=to_timestamp(NOW + 6 * HOUR))


def declined() -> payments.PaymentDeclined:
    again = to_timestamp(NOW + 6 * HOUR)
    return payments.PaymentDeclined(ref=charge_ref(), attempt=1, next_attempt_time=again)


def repriced(
    amount_minor: int = 500, customer: str = ANN
) -> scheduler.SubscriberPriceChangeScheduled:
    return scheduler.SubscriberPriceChangeScheduled(
        customer=customer, product="merchants/acme/products/tea", product_title="Tea",
        price="merchants/acme/products/tea/prices/new", changes=[price_change(amount_minor)],
    )  # fmt: skip


def price_change(amount_minor: int) -> scheduler.SubscriberPriceChange:
    return scheduler.SubscriberPriceChange(
        standing_order="merchants/acme/standingOrders/coffee", title="Breakfast",
        time_zone="Europe/Berlin", first_cycle=3, first_due_time=to_timestamp(DUE),
        amount=to_money(amount_minor, "EUR"), previous_amount=to_money(420, "EUR"),
    )  # fmt: skip


def price_withdrawn(notice: str) -> scheduler.SubscriberPriceChangeWithdrawn:
    return scheduler.SubscriberPriceChangeWithdrawn(
        customer=ANN, product="merchants/acme/products/tea", product_title="Tea",
        price="merchants/acme/products/tea/prices/new", changes=[price_change(500)], notice=notice,
    )  # fmt: skip


def succeeded() -> payments.PaymentSucceeded:
    return payments.PaymentSucceeded(ref=charge_ref(), pay_time=to_timestamp(NOW))


def changed(
    change: scheduler.StandingOrderChanged.Change.ValueType,
) -> scheduler.StandingOrderChanged:
    return scheduler.StandingOrderChanged(
        standing_order="merchants/acme/standingOrders/coffee", customer=ANN, title="Coffee",
        change=change, time_zone="Europe/Berlin", next_due_time=to_timestamp(DUE),
    )  # fmt: skip


def promotion_ending() -> scheduler.PromotionEnding:
    return scheduler.PromotionEnding(
        standing_order="merchants/acme/standingOrders/coffee", customer=ANN, title="Coffee",
        time_zone="Europe/Berlin", promotion_title="Spring", first_due_time=to_timestamp(DUE),
    )  # fmt: skip


async def test_a_change_of_a_standing_order_leaves_the_end_of_its_promotion_true(
    notify: Notify,
) -> None:
    texts = await texts_after_outage(notify, promotion_ending(), changed(CHANGES.UPDATED))

    assert any("Spring" in text for text in texts)


async def bound(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()


async def texts_after_outage(
    notify: Notify, *events: Message, backwards: bool = False
) -> list[str]:
    """What arrives on the phone of events that occurred a second apart during an outage."""
    await bound(notify)
    await notify.outage("sms", on=True)
    numbered = list(enumerate(events))
    for number, event in reversed(numbered) if backwards else numbered:
        await notify.receive(event, event_key=str(number), occur_time=NOW + number * SECOND)
        if not backwards:
            await notify.deliver()
    await notify.outage("sms", on=False)
    notify.clock.move(2 * HOUR)
    await notify.deliver()
    return (await notify.inbox())[1:]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("stale", "event", "arrives"),
    [
        (order_upcoming, order_cancelled, "is cancelled"),
        (order_upcoming, order_skipped, "is left out"),
        (order_upcoming, order_confirmed, "You paid"),
        (order_held, order_confirmed, "You paid"),
        (order_held, order_upcoming, "comes to"),
        (requested, order_confirmed, "You paid"),
        (declined, order_confirmed, "You paid"),
        (order_upcoming, order_upcoming, "comes to"),
        (repriced, lambda: repriced(550), "5.50 EUR"),
        (promotion_ending, lambda: changed(CHANGES.CANCELLED), "is cancelled"),
    ],
)
async def test_what_a_later_event_makes_untrue_does_not_go_out(
    notify: Notify,
    stale: Callable[[], Message],
    event: Callable[[], Message],
    arrives: str,
    *,
    backwards: bool,
) -> None:
    texts = await texts_after_outage(notify, stale(), event(), backwards=backwards)

    assert len(texts) == 1
    assert arrives in texts[0]
    states = sorted(
        (Delivery.State.Name(d.state), d.failure_code)
        for notice in (await notify.notices())[1:]
        for d in notice.deliveries
    )
    assert states == [("DELIVERED", ""), ("VOIDED", "SUPERSEDED")]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("stale", [order_upcoming, order_held, requested, declined])
async def test_a_payment_voids_what_was_said_before_it(
    notify: Notify, stale: Callable[[], Message], *, backwards: bool
) -> None:
    assert await texts_after_outage(notify, stale(), succeeded(), backwards=backwards) == []


async def test_a_void_announcement_is_never_said_to_be_delivered(notify: Notify) -> None:
    await texts_after_outage(notify, order_upcoming(), order_cancelled())

    assert await notify.published(events_pb2.ChargeNoticeDelivered) == []
    assert await notify.published(events_pb2.ChargeNoticeFailed) == []


async def test_events_of_one_instant_count_in_the_order_of_their_arrival(notify: Notify) -> None:
    await bound(notify)
    changes = scheduler.StandingOrderChanged
    for place, change in enumerate((changes.CREATED, changes.UPDATED, changes.CANCELLED)):
        await notify.receive(changed(change), event_key=str(place), occur_time=NOW)
    await notify.deliver()

    [text] = (await notify.inbox())[1:]
    assert "is cancelled" in text


def missed(*cycles: int) -> list[scheduler.OrderSkipped]:
    return [
        scheduler.OrderSkipped(ref=order_ref(cycle=cycle), reason=scheduler_pb2.MISSED)
        for cycle in cycles
    ]


@pytest.mark.parametrize("backwards", [False, True])
async def test_orders_missed_together_make_each_of_their_announcements_untrue(
    notify: Notify, *, backwards: bool
) -> None:
    await bound(notify)
    upcoming = [order_upcoming(cycle=cycle) for cycle in (1, 2)]
    received: list[tuple[Sequence[Message], datetime]] = [
        (upcoming, NOW), (missed(1, 2), NOW + SECOND)
    ]  # fmt: skip
    for messages, occur_time in reversed(received) if backwards else received:
        await notify.receive(*messages, occur_time=occur_time)
    await notify.deliver()

    [text] = (await notify.inbox())[1:]
    assert "Your 2 orders" in text


async def test_orders_missed_together_are_told_once_though_one_comes_again_by_itself(
    notify: Notify,
) -> None:
    await bound(notify)
    await notify.receive(*missed(1, 2), occur_time=NOW)
    for event in missed(2), missed(1):
        await notify.receive(*event, occur_time=NOW)
    await notify.deliver()

    [text] = (await notify.inbox())[1:]
    assert "Your 2 orders" in text


async def test_an_event_that_comes_twice_voids_nothing_of_its_own(notify: Notify) -> None:
    await bound(notify)
    for _ in range(2):
        await notify.receive(order_upcoming())
    await notify.deliver()

    assert len(await notify.inbox()) == 2


@pytest.mark.parametrize("stale", [requested, declined])
async def test_what_time_has_made_untrue_does_not_go_out(
    notify: Notify, stale: Callable[[], Message]
) -> None:
    await bound(notify)
    await notify.outage("sms", on=True)
    await notify.receive(stale())
    await notify.deliver()
    await notify.outage("sms", on=False)
    notify.clock.move(6 * HOUR)
    await notify.deliver()

    assert len(await notify.inbox()) == 1
    [delivery] = (await notify.notices())[-1].deliveries
    assert (delivery.state, delivery.failure_code) == (Delivery.VOIDED, "EXPIRED")


async def test_messages_go_out_in_their_order_after_an_outage(notify: Notify) -> None:
    await bound(notify)
    await notify.outage("sms", on=True)
    await notify.receive(order_confirmed(), event_key="a")
    for _ in range(4):
        await notify.deliver()
        assert notify.wake_at is not None
        notify.clock.move_to(notify.wake_at)
    await notify.deliver()
    await notify.outage("sms", on=False)
    await notify.receive(order_confirmed(cycle=2), event_key="b")
    await notify.deliver()
    assert len(await notify.inbox()) == 1
    assert notify.wake_at is not None
    notify.clock.move_to(notify.wake_at)
    await notify.deliver()

    assert len(await notify.inbox()) == 3
    assert [n.deliveries[0].state for n in await notify.notices()] == [Delivery.DELIVERED] * 3


async def test_an_e_mail_counts_when_the_phone_cannot_be_reached(notify: Notify) -> None:
    await notify.contact(email="ann@example.com")
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_upcoming())
    await notify.deliver()

    [delivered] = await notify.published(events_pb2.ChargeNoticeDelivered)
    assert (delivered.order, delivered.deliver_time) == (
        order_upcoming().ref.order,
        to_timestamp(NOW),
    )
    assert delivered.charge_promise.charge_not_before_time == to_timestamp(DUE)
    assert await notify.published(events_pb2.ChargeNoticeFailed) == []


async def test_an_e_mail_counts_while_the_gateway_is_away_and_the_date_stays(
    notify: Notify,
) -> None:
    await notify.contact(email="ann@example.com")
    await notify.bind()
    await notify.outage("sms", on=True)
    await notify.receive(order_upcoming())
    await notify.deliver()
    await notify.outage("sms", on=False)
    notify.clock.move(5 * HOUR)
    await notify.deliver()

    [delivered] = await notify.published(events_pb2.ChargeNoticeDelivered)
    assert delivered.charge_promise.charge_not_before_time == to_timestamp(DUE)
    assert len(await notify.mailbox("ann@example.com")) == 1
    assert len(await notify.inbox()) == 2


async def test_a_phone_that_takes_nothing_gets_three_texts_in_three_days(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    for look in range(13):
        await notify.receive(order_upcoming(), event_key=f"upcoming-{look}")
        await notify.deliver()
        held = order_held(scheduler_pb2.NOTICE_UNDELIVERABLE)
        await notify.receive(held, event_key=f"held-{look}")
        await notify.deliver()
        notify.clock.move(6 * HOUR)

    attempts = [
        (
            notify_pb2.NoticeKind.Name(notice.kind),
            notice.create_time.ToDatetime() - NOW.replace(tzinfo=None),
        )
        for notice in (await notify.notices())[1:]
        if notice.deliveries[0].attempt_count
    ]
    assert attempts == [
        ("ORDER_UPCOMING", 0 * HOUR),
        ("ORDER_UPCOMING", 12 * HOUR),
        ("ORDER_UPCOMING", 36 * HOUR),
    ]


async def test_a_new_phone_is_tried_at_once_though_the_old_one_was_dead(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_upcoming(), event_key="a")
    await notify.deliver()
    await notify.bind(PHONE)
    notify.clock.move(PHONE_CHANGE_WAIT)
    await notify.change_phones()
    await notify.receive(order_upcoming(), event_key="b")
    await notify.deliver()

    assert "comes to" in (await notify.inbox())[-1]


async def test_the_old_phone_is_notified_that_another_is_bound(notify: Notify) -> None:
    await bound(notify)
    await notify.rebind("+491709999999")
    await notify.deliver()

    assert (await notify.inbox(PHONE))[-1] == (
        "Messages about your orders now go to +49********99, not to this phone. "
        "If you did not change it, please tell the shop at once."
    )
    assert len(await notify.inbox("+491709999999")) == 1


async def price_notice(notify: Notify) -> str:
    """The notice of a new price, received and not sent yet."""
    await notify.receive(repriced())
    [*_, notice] = await notify.notices()
    return str(notice.name)


async def test_a_new_price_that_is_taken_back_before_it_was_told_is_never_spoken_of(
    notify: Notify,
) -> None:
    await bound(notify)
    notice = await price_notice(notify)
    await notify.receive(price_withdrawn(notice), occur_time=NOW + SECOND)
    await notify.deliver()

    assert (await notify.inbox())[1:] == []


async def test_who_was_told_of_a_new_price_hears_that_it_is_taken_back(notify: Notify) -> None:
    await bound(notify)
    notice = await price_notice(notify)
    await notify.deliver()
    await notify.receive(price_withdrawn(notice), occur_time=NOW + SECOND)
    await notify.deliver()

    _, told, taken_back = await notify.inbox()
    assert "Tea in Breakfast will cost 5.00 EUR an order, not 4.20 EUR, from " in told
    assert "That is taken back: it stays at 4.20 EUR an order." in taken_back
