"""Links for the notices of events, where the merchant has a page for them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.runtime.crypto.link_tokens import new_link_token
from services.runtime.db.pool import Connection
from services.scheduler.domain.action_links import (
    LinkAction,
    NewLink,
    link_of_order,
    link_of_standing_order,
    link_uri,
    offered_with_order,
)
from services.scheduler.domain.ids import OrderKey, StandingOrderKey
from services.scheduler.domain.order import Order
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import action_links


async def of_orders(
    tx: Connection,
    orders: Sequence[Order],
    standing_orders: Mapping[StandingOrderKey, StandingOrder],
    now: datetime,
) -> dict[OrderKey, str]:
    """Where customers act on the notices of orders that have just come into their states."""
    pages = {
        order.key: (order, page)
        for order in orders
        if (page := standing_orders[order.key.standing_order_key].action_page_uri)
        and offered_with_order(order)
    }
    made = [(page, link_of_order(order, now)) for order, page in pages.values()]
    return dict(zip(pages, await _issue(tx, made, now), strict=True))


async def of_standing_orders(
    tx: Connection,
    standing_orders: Sequence[StandingOrder],
    actions: Sequence[LinkAction],
    now: datetime,
) -> dict[StandingOrderKey, str]:
    """Where customers act on notices about standing orders as a whole."""
    with_page = {one.key: one for one in standing_orders if one.action_page_uri}
    made = [
        (one.action_page_uri, link_of_standing_order(one, actions, now))
        for one in with_page.values()
    ]
    return dict(zip(with_page, await _issue(tx, made, now), strict=True))


async def _issue(tx: Connection, made: Sequence[tuple[str, NewLink]], now: datetime) -> list[str]:
    """Store links under tokens of their own; returns where each leads."""
    tokens = [new_link_token() for _ in made]
    links = {token: link for token, (_, link) in zip(tokens, made, strict=True)}
    await action_links.insert(tx, links, now)
    return [link_uri(page, token) for token, (page, _) in zip(tokens, made, strict=True)]
