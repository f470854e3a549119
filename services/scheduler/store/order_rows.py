"""Between orders and their rows."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from services.runtime.db.pool import to_json
from services.scheduler.domain.ids import CustomerId, MerchantId, OrderKey, StandingOrderId
from services.scheduler.domain.order import (
    Decision,
    Order,
    OrderReason,
    OrderState,
    Stage,
    Substitute,
    line_of,
)
from services.scheduler.domain.terms import BillingMode, Terms
from services.scheduler.store.items import dump_items, load_items

# The kinds of decisions that move the date of an order.
_MOVES = frozenset({"ORDERED_NOW", "DEFERRED", "MOVED"})


class OrderRow(NamedTuple):
    """A row of the view `order_rows`: an order without what was decided about it."""

    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    customer: CustomerId
    ship_to: bytes
    region_code: str
    tax_id: str
    state: str
    title: str
    billing_mode: str
    mandate: str
    payment_window: timedelta
    time_zone: str
    items: list[tuple[str, int]]
    substitutes: dict[str, tuple[str, str]]
    hold_until_time: datetime
    asks_condition: bool
    local_date: date
    due_time: datetime
    notice_lead: timedelta
    lines: list[dict[str, Any]]
    currency: str
    notified_minor: int | None
    amount_minor: int | None
    charge_not_before_time: datetime | None
    notice_time: datetime | None
    collect_time: datetime | None
    pay_time: datetime | None
    late_payment_until_time: datetime | None
    recheck_time: datetime | None
    held_stage: str | None
    announcement_count: int
    traceparent: str
    reasons: list[str]
    confirmed_reasons: list[str]
    services: list[str]
    moved_from_date: date | None
    version: int
    create_time: datetime
    update_time: datetime


def arrays_of(keys: Sequence[OrderKey]) -> dict[str, list[Any]]:
    """Keys as parameters of a statement, an array a column."""
    return {
        "merchant": [key.merchant for key in keys],
        "standing_order": [key.standing_order for key in keys],
        "cycle": [key.cycle for key in keys],
    }


def values_of(order: Order, now: datetime) -> tuple[Any, ...]:
    """An order, as it is stored now, as the fields of an OrderRow."""
    key = order.key
    return (
        key.merchant,
        key.standing_order,
        key.cycle,
        order.customer,
        order.ship_to,
        order.region_code,
        order.tax_id,
        order.state,
        order.terms.title,
        order.terms.billing_mode,
        order.terms.mandate,
        order.terms.payment_window,
        order.terms.time_zone,
        dump_items(order.items),
        to_json({product: list(one) for product, one in order.substitutes.items()}),
        order.hold_until_time,
        order.asks_condition,
        order.local_date,
        order.due_time,
        order.notice_lead,
        to_json([line._asdict() for line in order.lines]),
        order.currency,
        order.notified_minor,
        order.amount_minor,
        order.charge_not_before_time,
        order.notice_time,
        order.collect_time,
        order.pay_time,
        order.late_payment_until_time,
        order.recheck_time,
        order.held_stage,
        order.announcement_count,
        order.traceparent,
        order.reasons,
        order.confirmed_reasons,
        order.services,
        order.moved_from_date,
        order.version,
        now,
        now,
    )


def is_moved(order: Order) -> bool:
    """Whether what is decided now moves the date of an order."""
    return any(decision.kind in _MOVES for decision in order.decisions)


def dump_decisions(decisions: Sequence[Decision]) -> str:
    """Decisions as JSON, as they are stored."""
    return to_json([decision._asdict() for decision in decisions])


def order_of(row: OrderRow) -> Order:
    """An order from its row, without what was decided about it."""
    return Order(
        key=OrderKey(row.merchant, row.standing_order, row.cycle),
        customer=row.customer,
        local_date=row.local_date,
        due_time=row.due_time,
        notice_lead=row.notice_lead,
        hold_until_time=row.hold_until_time,
        state=OrderState(row.state),
        terms=Terms(
            row.title,
            BillingMode[row.billing_mode],
            row.mandate,
            row.payment_window,
            row.time_zone,
        ),
        reasons=tuple(OrderReason(reason) for reason in row.reasons),
        items=load_items(row.items),
        ship_to=row.ship_to,
        region_code=row.region_code,
        tax_id=row.tax_id,
        lines=tuple(line_of(line) for line in row.lines),
        currency=row.currency,
        notified_minor=row.notified_minor,
        amount_minor=row.amount_minor,
        charge_not_before_time=row.charge_not_before_time,
        notice_time=row.notice_time,
        collect_time=row.collect_time,
        pay_time=row.pay_time,
        late_payment_until_time=row.late_payment_until_time,
        recheck_time=row.recheck_time,
        held_stage=Stage(row.held_stage) if row.held_stage else None,
        asks_condition=row.asks_condition,
        substitutes={key: Substitute(*one) for key, one in row.substitutes.items()},
        confirmed_reasons=tuple(OrderReason(reason) for reason in row.confirmed_reasons),
        announcement_count=row.announcement_count,
        services=tuple(row.services),
        moved_from_date=row.moved_from_date,
        traceparent=row.traceparent,
        version=row.version,
    )
