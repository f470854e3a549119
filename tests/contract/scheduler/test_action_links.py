"""Customers act by the links in their messages: on one order, once, and on nothing else."""

import re
from datetime import timedelta
from typing import Any

from google.protobuf import duration_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from tests.contract.scheduler.shop import LEAD, Shop
from tests.suite import new_id, refused

DAY = timedelta(days=1)
PAGE = "https://shop.test/o/"
_LINK = re.compile(re.escape(PAGE) + "([a-z2-9]{20})")
Link = pb.ActionLink


async def set_page(shop: Shop) -> None:
    settings = pb.SchedulerSettings(
        name=f"{shop.name}/schedulerSettings",
        unpaid_policy=pb.SchedulerSettings.GO_ON,
        action_page_uri=PAGE + "{token}",
    )
    await shop.scheduler.UpdateSchedulerSettings(
        pb.UpdateSchedulerSettingsRequest(scheduler_settings=settings, request_id=new_id())
    )


async def tokens(shop: Shop) -> list[str]:
    """Of the links on Ada's phone, the oldest first."""
    return [token for text in await shop.texts() for token in _LINK.findall(text)]


async def announced(shop: Shop) -> tuple[str, str]:
    """A weekly standing order whose first order is announced, and the token of its notice."""
    await set_page(shop)
    await shop.bind_phone("ada")
    made = await shop.create(await shop.due_in(2 * DAY, every_days=7))
    await shop.suite.advance(2 * DAY - LEAD)
    [token] = await tokens(shop)
    return made.name, token


def resolve(client: Any, shop: Shop, token: str) -> Any:  # noqa: ANN401 - to be awaited
    request = pb.ResolveActionLinkRequest(parent=shop.name, link_token=token)
    return client.scheduler.ResolveActionLink(request)


def act(
    client: Any,  # noqa: ANN401 - any client
    shop: Shop,
    token: str,
    action: pb.ActionLink.Action.ValueType,
    request_id: str = "",
) -> Any:  # noqa: ANN401 - to be awaited
    request = pb.ActByLinkRequest(
        parent=shop.name, link_token=token, action=action, request_id=request_id or new_id()
    )
    return client.scheduler.ActByLink(request)


async def test_a_customer_skips_an_order_by_the_link_on_their_phone(shop: Shop) -> None:
    name, token = await announced(shop)
    page = shop.suite.client(shop.client.merchant, scope="standing-orders:act")
    other = await refused(page.scheduler.GetStandingOrder(pb.GetStandingOrderRequest(name=name)))
    assert other.reason == "SCOPE_MISSING"

    shown = await resolve(page, shop, token)
    assert (shown.standing_order, shown.order) == (name, f"{name}/orders/1")
    assert [offer.action for offer in shown.offers] == [Link.SKIP, Link.PAUSE, Link.CANCEL]
    unknown = "z" * 20
    assert (await refused(resolve(page, shop, unknown))).reason == "ACTION_LINK_NOT_FOUND"
    assert (await refused(act(page, shop, unknown, Link.SKIP))).reason == "ACTION_LINK_NOT_FOUND"
    wrong = await refused(act(page, shop, token, Link.RESUME))
    assert wrong.fields == {"action": "FIELD_INVALID"}

    request_id = new_id()
    done = await act(page, shop, token, Link.SKIP, request_id)
    assert (done.used_action, done.order_state) == (Link.SKIP, pb.Order.SKIPPED)
    assert list(done.offers) == []
    assert await act(page, shop, token, Link.SKIP, request_id) == done
    assert (await refused(act(page, shop, token, Link.CANCEL))).reason == "ACTION_LINK_USED"
    assert await shop.outcomes(name) == [(1, "SKIPPED", ["SKIPPED_BY_CUSTOMER"])]
    assert (await shop.get(name)).state == pb.StandingOrder.ACTIVE


async def test_what_was_done_meanwhile_is_not_done_again(shop: Shop) -> None:
    name, token = await announced(shop)
    pause = pb.PauseStandingOrderRequest(name=name, request_id=new_id())
    await shop.scheduler.PauseStandingOrder(pause)

    refusal = await refused(act(shop.client, shop, token, Link.PAUSE))
    assert refusal.reason == "ACTION_NOT_POSSIBLE"
    [offer] = (await resolve(shop.client, shop, token)).offers
    assert offer.action == Link.CANCEL

    # The message that it is paused has a link of its own.
    await shop.suite.sandbox.settle()
    [_, resume] = await tokens(shop)
    [going_on, _] = (await resolve(shop.client, shop, resume)).offers
    assert going_on.action == Link.RESUME
    await act(shop.client, shop, resume, Link.RESUME)
    resumed = await shop.get(name)
    assert resumed.state == pb.StandingOrder.ACTIVE
    assert resumed.next_due_time == going_on.next_due_time


async def test_a_customer_says_yes_by_the_link(shop: Shop) -> None:
    await set_page(shop)
    await shop.bind_phone("ada")
    made = await shop.create(
        await shop.due_in(2 * DAY, every_days=7),
        repurchase_window=duration_pb2.Duration(seconds=int((7 * DAY).total_seconds())),
        repurchase_action=pb.Otherwise.HOLD_AND_ASK,
    )
    bought = pb.RecordPurchaseRequest(
        customer=shop.customer("ada"), products=[shop.product("tea")], request_id=new_id()
    )
    await shop.scheduler.RecordPurchase(bought)
    await shop.suite.advance(2 * DAY - LEAD)
    [token] = await tokens(shop)

    await act(shop.client, shop, token, Link.CONFIRM)
    assert (await shop.order(made.name)).state == pb.Order.UPCOMING
