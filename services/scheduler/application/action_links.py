"""Links in notices: looked at on the merchant's page, and used once."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Violations, not_found, wrong_state
from services.runtime.mutations import Applied, Apply, Refused
from services.scheduler.application import cycles, orders, standing_orders
from services.scheduler.clients import Clients
from services.scheduler.domain.action_links import ActionLink, LinkAction, possible_actions
from services.scheduler.domain.cycles import next_due_time
from services.scheduler.domain.ids import MerchantId, OrderKey
from services.scheduler.domain.order import Order
from services.scheduler.domain.pauses import resumed
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.names import standing_order_name
from services.scheduler.store import action_links as store
from services.scheduler.store import orders as order_store

# Does what a customer wants, in the transaction that uses their link up.
_Act = Callable[[Connection], Awaitable[object]]


class Offer(NamedTuple):
    """What can be done by a link, and when the next order is due after it."""

    action: LinkAction
    next_due_time: datetime | None


class LinkView(NamedTuple):
    """What a customer sees who follows a link."""

    link: ActionLink
    standing_order: StandingOrder
    # The order that its notice is about, if it is about one.
    order: Order | None
    offers: tuple[Offer, ...]


async def resolve(
    connection: Connection, merchant: MerchantId, token: str, now: datetime
) -> LinkView:
    """What a link is for. Raises NOT_FOUND ACTION_LINK_NOT_FOUND."""
    return await _view(connection, await _existing(connection, merchant, token, now), now)


async def act(
    database: Database,
    clients: Clients,
    merchant: MerchantId,
    token: str,
    action: LinkAction,
    now: datetime,
) -> Apply[LinkView]:
    """Do what a link offers, whose token is the authority; the link is used up.

    Raises NOT_FOUND ACTION_LINK_NOT_FOUND, FAILED_PRECONDITION ACTION_LINK_USED or
    ACTION_NOT_POSSIBLE, INVALID_ARGUMENT for what the link does not offer.
    """
    async with database.read() as connection:
        before = await resolve(connection, merchant, token, now)
    _check(before, action)
    do = await _act_of(database, clients, before.link, action, now)

    async def apply(tx: Connection) -> Applied[LinkView] | Refused:
        # The standing order's lock first: what is possible stays so until the end.
        key = before.link.standing_order_key
        await standing_orders.existing(tx, key, lock=True)
        present = await resolve(tx, merchant, token, now)
        _check(present, action)
        await do(tx)
        if not await store.use(tx, present.link, token, action, now):
            raise _used()
        used = replace(present.link, use_time=now, used_action=action)
        return Applied(await _view(tx, used, now), before=present)

    return apply


async def _act_of(
    database: Database, clients: Clients, link: ActionLink, action: LinkAction, now: datetime
) -> _Act:
    key, order_key = link.standing_order_key, link.order_key
    match action:
        case LinkAction.SKIP if order_key is not None:
            return lambda tx: cycles.skip(tx, key, "", now, cycle=order_key.cycle)
        case LinkAction.CONFIRM if order_key is not None:
            return await orders.confirm(database, clients, order_key, now)
        case LinkAction.PAUSE:
            return lambda tx: standing_orders.pause(
                tx, key, "", now, until_time=None, cycle_count=None
            )
        case LinkAction.RESUME:
            return lambda tx: standing_orders.resume(tx, key, "", now, anchor_date=None)
        case _:
            return lambda tx: standing_orders.cancel(tx, key, "", now)


def _check(view: LinkView, action: LinkAction) -> None:
    violations = Violations()
    violations.require(
        "action", "must be one that the notice offered", met=action in view.link.actions
    )
    violations.check()
    if view.link.use_time is not None:
        raise _used()
    if action not in (offer.action for offer in view.offers):
        name = standing_order_name(*view.standing_order.key)
        raise wrong_state("ACTION_NOT_POSSIBLE", f"{action} of {name} is not possible any more")


async def _existing(
    connection: Connection, merchant: MerchantId, token: str, now: datetime
) -> ActionLink:
    link = await store.get(connection, merchant, token, now)
    if link is None:
        raise not_found("ACTION_LINK_NOT_FOUND", "the link")
    return link


async def _view(connection: Connection, link: ActionLink, now: datetime) -> LinkView:
    standing_order = await standing_orders.existing(connection, link.standing_order_key)
    order = None
    if link.order_key is not None:
        order = (await order_store.by_key(connection, [link.order_key])).get(link.order_key)
    # Of the orders that are announced already, the first after this one.
    after = link.order_key or OrderKey(*standing_order.key, 0)
    following = (await order_store.next_open_times(connection, [after], now)).get(after)
    offers = tuple(
        Offer(action, _next_due_time(action, standing_order, order, following, now))
        for action in possible_actions(link, standing_order, order)
    )
    return LinkView(link, standing_order, order, offers)


def _next_due_time(
    action: LinkAction,
    standing_order: StandingOrder,
    order: Order | None,
    following: datetime | None,
    now: datetime,
) -> datetime | None:
    match action:
        case LinkAction.SKIP:
            return following or next_due_time(standing_order)
        case LinkAction.CONFIRM if order is not None:
            return order.due_time
        case LinkAction.RESUME:
            return next_due_time(resumed(standing_order, now).standing_order)
        case _:
            return None


def _used() -> Exception:
    return wrong_state("ACTION_LINK_USED", "a link acts once; the latest message has a new one")
