"""Lists of notices: of a customer by what they are about, and of all customers what did not arrive."""

from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import notify_pb2

from services.runtime.errors import Problem
from tests.integration.notify.suite import ANN, UNDELIVERABLE_PHONE, Notify, order_skipped

BOB = "merchants/acme/customers/bob"
EVERYONE = "merchants/acme/customers/-"
Delivery = notify_pb2.Notice.Delivery


async def listed(notify: Notify, parent: str, **wanted: Any) -> list[notify_pb2.Notice]:  # noqa: ANN401
    """All notices of a list that is read in pages of one."""
    notices, token = [], ""
    while True:
        request = notify_pb2.ListNoticesRequest(
            parent=parent, page_size=1, page_token=token, **wanted
        )
        page = await notify.call("ListNotices", request)
        notices += page.notices
        if not (token := page.next_page_token):
            return notices


async def failed_notices(notify: Notify) -> None:
    """Of Ann two that cannot arrive, and between them one of Bob."""
    for customer, cycle in ((ANN, 1), (BOB, 2), (ANN, 3)):
        await notify.contact(customer)
        await notify.receive(order_skipped(customer, cycle), event_key=str(cycle))
        notify.clock.move(timedelta(minutes=1))


def subjects(notices: list[notify_pb2.Notice]) -> list[str]:
    return [notice.subject_resource[-1] for notice in notices]


async def test_what_did_not_arrive_is_listed_over_all_customers_the_newest_first(
    notify: Notify,
) -> None:
    await failed_notices(notify)

    assert subjects(await listed(notify, EVERYONE, state=Delivery.FAILED)) == ["3", "2", "1"]


async def test_a_notice_that_neither_channel_brings_is_listed_once(notify: Notify) -> None:
    await notify.contact(email="ann@example.com")
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_skipped())
    await notify.outage("mail", on=True)
    await notify.deliver()
    notify.clock.move(timedelta(hours=25))
    await notify.deliver()

    [notice] = await listed(notify, EVERYONE, state=Delivery.FAILED)
    assert [delivery.state for delivery in notice.deliveries] == [Delivery.FAILED, Delivery.FAILED]


async def test_what_arrived_is_not_among_what_did_not(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_skipped())
    await notify.deliver()

    assert await listed(notify, EVERYONE, state=Delivery.FAILED) == []
    assert len(await listed(notify, ANN, state=Delivery.DELIVERED)) == 2


async def test_what_did_not_arrive_is_narrowed_by_kind_and_by_what_it_is_about(
    notify: Notify,
) -> None:
    await failed_notices(notify)
    order = order_skipped(BOB, 2).ref.order
    about_order = await listed(notify, EVERYONE, state=Delivery.FAILED, subject_resource=order)
    receipts = await listed(notify, EVERYONE, state=Delivery.FAILED, kind=notify_pb2.RECEIPT)

    assert subjects(about_order) == ["2"]
    assert receipts == []


async def test_notices_of_a_customer_are_narrowed_by_kind_and_state(notify: Notify) -> None:
    await failed_notices(notify)

    skipped = await listed(notify, ANN, kind=notify_pb2.ORDER_SKIPPED, state=Delivery.FAILED)
    assert subjects(skipped) == ["1", "3"]
    assert await listed(notify, ANN, kind=notify_pb2.RECEIPT) == []
    assert await listed(notify, ANN, state=Delivery.PENDING) == []


async def test_notices_about_the_orders_of_a_standing_order_can_be_asked_for(
    notify: Notify,
) -> None:
    await failed_notices(notify)
    standing_order = order_skipped().ref.order.rpartition("/orders/")[0]

    assert subjects(await listed(notify, ANN, subject_resource=standing_order)) == ["1", "3"]
    # Of one whose name begins the same, nothing is known.
    assert await listed(notify, ANN, subject_resource=standing_order[:-1]) == []


@pytest.mark.parametrize("state", [Delivery.STATE_UNSPECIFIED, Delivery.DELIVERED])
async def test_of_all_customers_nothing_else_is_listed(
    notify: Notify, state: notify_pb2.Notice.Delivery.State
) -> None:
    with pytest.raises(Problem) as refused:
        await listed(notify, EVERYONE, state=state)

    assert [violation.field for violation in refused.value.violations] == ["state"]


async def test_the_failures_of_another_merchant_are_not_listed(notify: Notify) -> None:
    await failed_notices(notify)
    request = notify_pb2.ListNoticesRequest(
        parent="merchants/other/customers/-", state=Delivery.FAILED
    )

    assert not (await notify.call("ListNotices", request, merchant="other")).notices
