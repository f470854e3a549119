"""Notices that were given up for a cause outside, sent again together."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.notify.domain.notices import DELIVERY_LIFETIME
from services.notify.domain.resending import REDRIVE_AGE_MAX, RESENDS_DAY_MAX
from services.runtime.rpc.conversions import to_timestamp
from tests.integration.notify.suite import (
    ANN,
    DUE,
    MERCHANT,
    NOW,
    PHONE,
    UNDELIVERABLE_PHONE,
    Notify,
    order_confirmed,
    order_skipped,
    order_upcoming,
)

Delivery = notify_pb2.Notice.Delivery
Answer = notify_pb2.RedriveNoticesResponse
OTHER_PHONE = "+491701234568"
BOB = "merchants/acme/customers/bob"


async def redrive(notify: Notify, **fields: Any) -> Answer:  # noqa: ANN401
    request = notify_pb2.RedriveNoticesRequest(
        parent=MERCHANT, **{"start_time": to_timestamp(NOW), **fields}
    )
    answer: Answer = await notify.call("RedriveNotices", request)
    return answer


def skips(answer: Answer) -> Mapping[str, int]:
    return {Answer.Reason.Name(skip.reason): skip.notice_count for skip in answer.skips}


async def give_up(notify: Notify, *events: Message) -> None:
    """Have events announced while the SMS gateway is away, until their notices are given up."""
    await notify.outage("sms", on=True)
    for event in events:
        await notify.receive(event, event_key=str(uuid.uuid4()))
    await notify.deliver()
    notify.clock.move(DELIVERY_LIFETIME)
    await notify.deliver()
    await notify.outage("sms", on=False)


async def reachable(notify: Notify, customer: str = ANN, phone: str = PHONE) -> None:
    await notify.contact(customer)
    await notify.bind(phone, customer)


async def states(notify: Notify, customer: str = ANN) -> list[str]:
    """How the deliveries of orders' notices stand, the oldest first."""
    listed = await notify.notices(customer)
    return [Delivery.State.Name(it.deliveries[0].state) for it in listed if it.subject_resource]


async def test_what_an_outage_gave_up_is_sent_again(notify: Notify) -> None:
    await reachable(notify)
    await reachable(notify, BOB, OTHER_PHONE)
    await give_up(notify, order_skipped(), order_skipped(customer=BOB))
    assert await states(notify) == ["FAILED"]
    answer = await redrive(notify)
    await notify.deliver()

    assert (answer.redrive_count, skips(answer)) == (2, {})
    assert await states(notify) == ["FAILED", "DELIVERED"]
    assert await states(notify, BOB) == ["FAILED", "DELIVERED"]


async def test_what_is_sent_again_is_sent_once(notify: Notify) -> None:
    await reachable(notify)
    await give_up(notify, order_skipped())
    assert (await redrive(notify, dry_run=True)).redrive_count == 1
    request_id = str(uuid.uuid4())
    first = await redrive(notify, request_id=request_id)

    assert first.redrive_count == 1
    assert await redrive(notify, request_id=request_id) == first
    assert (await redrive(notify)).redrive_count == 0
    assert await states(notify) == ["FAILED", "PENDING"]


async def test_a_repeated_request_is_answered_the_same_when_its_time_is_over(
    notify: Notify,
) -> None:
    await reachable(notify)
    await give_up(notify, order_skipped())
    notify.clock.move(NOW + REDRIVE_AGE_MAX - notify.clock.now())
    request_id = str(uuid.uuid4())
    first = await redrive(notify, request_id=request_id)
    notify.clock.move(timedelta(seconds=1))
    assert await redrive(notify, request_id=request_id) == first


async def test_a_copy_that_was_given_up_as_well_is_sent_again(notify: Notify) -> None:
    await reachable(notify)
    await give_up(notify, order_skipped())
    await redrive(notify)
    await give_up(notify)
    answer = await redrive(notify)
    await notify.deliver()

    assert answer.redrive_count == 1
    assert await states(notify) == ["FAILED", "FAILED", "DELIVERED"]
    assert len({it.original_notice for it in await notify.notices() if it.original_notice}) == 1


async def test_what_is_not_true_any_more_is_skipped(notify: Notify) -> None:
    await reachable(notify)
    await give_up(notify, order_upcoming(), order_upcoming(cycle=2))
    assert (await redrive(notify, dry_run=True)).redrive_count == 2
    await notify.receive(order_confirmed())
    # And the second was to be charged before now.
    notify.clock.move_to(DUE)

    assert skips(await redrive(notify)) == {"UNTRUE": 2}


async def test_that_a_promotion_ends_is_not_said_after_its_end(notify: Notify) -> None:
    await reachable(notify)
    ending = scheduler_events_pb2.PromotionEnding(
        standing_order=f"{MERCHANT}/standingOrders/coffee",
        customer=ANN,
        title="Coffee",
        time_zone="UTC",
        promotion_title="Spring",
        first_due_time=to_timestamp(NOW + 3 * DELIVERY_LIFETIME),
    )
    await give_up(notify, ending)
    assert (await redrive(notify, dry_run=True)).redrive_count == 1
    notify.clock.move_to(NOW + 3 * DELIVERY_LIFETIME)
    assert skips(await redrive(notify)) == {"UNTRUE": 1}


async def test_what_the_number_refused_is_sent_again_only_by_its_code(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()
    await notify.replace_phone(OTHER_PHONE)
    assert (await redrive(notify)).redrive_count == 0
    [failed] = [it for it in await notify.notices() if it.subject_resource]
    answer = await redrive(notify, failure_code=failed.deliveries[0].failure_code)
    await notify.deliver()

    assert answer.redrive_count == 1
    assert await notify.inbox(OTHER_PHONE) == [failed.deliveries[0].text]


async def test_what_arrived_by_the_other_channel_is_not_sent_again(notify: Notify) -> None:
    await notify.contact(email="ann@example.com")
    await notify.bind()
    await give_up(notify, order_skipped())
    await notify.deliver()

    answer = await redrive(notify)
    assert (answer.redrive_count, skips(answer)) == (0, {})


async def test_who_cannot_be_reached_is_skipped(notify: Notify) -> None:
    await reachable(notify)
    await give_up(notify, order_skipped())
    await notify.call("UnbindPhone", notify_pb2.UnbindPhoneRequest(name=f"{ANN}/contact"))

    assert skips(await redrive(notify)) == {"CHANNEL_UNAVAILABLE": 1}


async def test_nobody_gets_more_copies_than_a_day_allows(notify: Notify) -> None:
    await reachable(notify)
    cycles = range(1, RESENDS_DAY_MAX + 3)
    await give_up(notify, *(order_skipped(cycle=cycle) for cycle in cycles))
    answer = await redrive(notify)

    assert (answer.redrive_count, skips(answer)) == (RESENDS_DAY_MAX, {"TOO_MANY": 2})


async def test_pages_send_each_notice_once(notify: Notify) -> None:
    await reachable(notify)
    await give_up(notify, *(order_skipped(cycle=cycle) for cycle in (1, 2, 3)))
    counts: list[int] = []
    token = ""
    while not counts or token:
        answer = await redrive(notify, page_size=2, page_token=token)
        counts.append(answer.redrive_count)
        token = answer.next_page_token
    await notify.deliver()

    assert counts == [2, 1]
    assert await states(notify) == ["FAILED"] * 3 + ["DELIVERED"] * 3


async def test_a_filter_says_what_is_sent_again(notify: Notify) -> None:
    await reachable(notify)
    await give_up(notify, order_skipped())

    async def count(**fields: Any) -> int:  # noqa: ANN401
        return int((await redrive(notify, dry_run=True, **fields)).redrive_count)

    assert await count(kind=notify_pb2.ORDER_SKIPPED, channel=notify_pb2.SMS) == 1
    assert await count(kind=notify_pb2.RECEIPT) == 0
    assert await count(channel=notify_pb2.EMAIL) == 0
    assert await count(failure_code="OTHER") == 0
    assert await count(end_time=to_timestamp(NOW + timedelta(hours=1))) == 0
    assert await count(start_time=to_timestamp(NOW + timedelta(days=3))) == 0


async def test_another_merchant_sends_nothing_of_ours(notify: Notify) -> None:
    await reachable(notify)
    await give_up(notify, order_skipped())
    request = notify_pb2.RedriveNoticesRequest(
        parent="merchants/other", start_time=to_timestamp(NOW)
    )

    assert (await notify.call("RedriveNotices", request, merchant="other")).redrive_count == 0
