"""Finding what a call is about, as far as its caller may see it."""

from collections.abc import Sequence
from datetime import datetime

import grpc
from recurring.catalog.v1 import catalog_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.crypto.encryption import keyring
from services.runtime.db import audit
from services.runtime.errors import (
    FieldViolation,
    Problem,
    Violations,
    etag_mismatch,
    not_found,
    wrong_state,
)
from services.runtime.rpc.conversions import etag
from services.scheduler.api.requests import read_name
from services.scheduler.api.responses import standing_order_message
from services.scheduler.domain.ids import MerchantId, StandingOrderId
from services.scheduler.domain.order import Item
from services.scheduler.domain.pauses import pause_recorded
from services.scheduler.domain.standing_order import CHANGE_AHEAD_MAX_CYCLES, StandingOrder, State
from services.scheduler.names import product_name, standing_order_name
from services.scheduler.store import orders, purchases, standing_orders

LIVE_STATES = (State.ACTIVE, State.PAUSED)


async def existing(
    connection: AsyncConnection,
    merchant: MerchantId,
    standing_order: StandingOrderId,
    *,
    lock: bool = False,
) -> StandingOrder:
    """A standing order. Raises NOT_FOUND STANDING_ORDER_NOT_FOUND."""
    found = await standing_orders.get(connection, merchant, standing_order, lock=lock)
    if found is None:
        name = standing_order_name(merchant, standing_order)
        raise not_found("STANDING_ORDER_NOT_FOUND", name)
    return found


def check_present(
    template: StandingOrder, present_etag: str, states: Sequence[State]
) -> StandingOrder:
    """Refuse a change that is decided on another version, or that its state does not allow."""
    name = standing_order_name(template.merchant, template.standing_order)
    if present_etag and present_etag != etag(template.version):
        raise etag_mismatch(name)
    if template.state not in states:
        raise wrong_state("STANDING_ORDER_STATE", f"{name} is {template.state}")
    return template


async def locked(
    tx: AsyncConnection, name: str, present_etag: str, states: Sequence[State]
) -> StandingOrder:
    """A standing order in one of the states, as the caller knows it, locked for a change."""
    merchant, standing_order = read_name(name)
    template = await existing(tx, merchant, standing_order, lock=True)
    audit.before(standing_order_message(template, keyring(tx.engine)))
    return check_present(template, present_etag, states)


async def record_pause(
    tx: AsyncConnection, template: StandingOrder, now: datetime
) -> StandingOrder:
    """A locked standing order whose next cycle is one to come, once the rows of a pause are stored.

    Raises FAILED_PRECONDITION STANDING_ORDER_STATE if none is to come.
    """
    if template.state is not State.PAUSED:
        return template
    opening = pause_recorded(template, now)
    if not opening.orders:
        return template
    if opening.place.next_cycle is None:
        name = standing_order_name(template.merchant, template.standing_order)
        raise wrong_state("STANDING_ORDER_STATE", f"{name} has no cycle left")
    await orders.insert(tx, opening.orders, now)
    return await standing_orders.change(tx, opening.standing_order, now)


def cycle_out_of_range() -> Problem:
    """The standing order has no such coming cycle."""
    return Problem(
        grpc.StatusCode.OUT_OF_RANGE,
        "CYCLE_OUT_OF_RANGE",
        f"there is no such cycle, or it is over {CHANGE_AHEAD_MAX_CYCLES} cycles ahead",
        (FieldViolation("cycle", "CYCLE_OUT_OF_RANGE", "must be a coming cycle"),),
    )


async def refuse_duplicate(
    connection: AsyncConnection, template: StandingOrder, products: Sequence[str]
) -> None:
    """Refuse products that another live standing order of the same customer has, naming that one."""
    if not products:
        return
    merchant = template.merchant
    first = await purchases.first_live(
        connection, merchant, template.customer, template.standing_order, products
    )
    if first is not None:
        name = standing_order_name(merchant, first)
        raise wrong_state(
            "DUPLICATE_STANDING_ORDER",
            f"{name} of the same customer has one of the products already",
            standing_order=name,
        )


def refuse_items(
    merchant: MerchantId,
    field: str,
    items: Sequence[Item],
    problems: Sequence[catalog_pb2.ItemProblem],
) -> None:
    """Refuse products that cannot be ordered, naming each."""
    violations = Violations()
    note_items(violations, merchant, field, items, problems)
    violations.check()


def note_items(
    violations: Violations,
    merchant: MerchantId,
    field: str,
    items: Sequence[Item],
    problems: Sequence[catalog_pb2.ItemProblem],
) -> None:
    """Note the products that cannot be ordered."""
    places = {product_name(merchant, item.product): place for place, item in enumerate(items)}
    for problem in problems:
        reason = catalog_pb2.ItemProblem.Reason.Name(problem.reason)
        violations.add(
            f"{field}[{places[problem.product]}].product",
            {
                "PRODUCT_NOT_FOUND": "does not exist",
                "PRODUCT_DISCONTINUED": "is off sale for good",
                "PRICE_NOT_FOUND": "has no price at the due time",
                "CURRENCY_MISMATCH": "has a price in another currency than the items before it",
                "TOTAL_TOO_LARGE": "brings the order above what one payment can be",
            }[reason],
            reason,
        )
