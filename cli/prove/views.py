"""What is read of each service: its views of schema `audit_v1`, which docs/audit-views.md describes.

The columns of a query are the fields of the record that its rows become.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

from cli.prove.records import (
    Attempt,
    Backlog,
    BroughtForward,
    Charge,
    Delivery,
    Hold,
    LedgerEntry,
    Mandate,
    Order,
    OrderKey,
    Refund,
    StandingOrder,
    Stock,
    Waiting,
)

# Tried as the phones that a message may have gone to, where nobody knows how many were bound.
UNKNOWN_PHONE_COUNT = 64

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ViewQuery(Generic[R]):
    """A statement on views alone, and what makes a record of the columns of a row, by name."""

    sql: str
    record: Callable[..., R]


def _hold(
    merchant: str, standing_order: str, cycle: int, product: str, quantity: int, state: str
) -> Hold:
    return Hold((merchant, standing_order, cycle), product, quantity, state)


def _standing_order(schedule: str, **columns: object) -> StandingOrder:
    make: Callable[..., StandingOrder] = StandingOrder
    return make(schedule=json.loads(schedule), **columns)


def _order(
    merchant: str,
    standing_order: str,
    cycle: int,
    due_time: datetime,
    state: str,
    amount_minor: int | None,
    currency: str,
    moved: bool,
    local_date: date,
) -> Order:
    key = (merchant, standing_order, cycle)
    return Order(key, due_time, state, amount_minor, currency, moved, local_date)


def _brought_forward(
    merchant: str, standing_order: str, cycle: int, due_time: datetime, time_zone: str
) -> BroughtForward:
    nominal_date = due_time.astimezone(ZoneInfo(time_zone)).date()
    return BroughtForward((merchant, standing_order, cycle), nominal_date)


def _order_key(merchant: str, standing_order: str, cycle: int) -> OrderKey:
    return (merchant, standing_order, cycle)


def _delivery(phone_count: int | None, **columns: object) -> Delivery:
    count = UNKNOWN_PHONE_COUNT if phone_count is None else phone_count
    make: Callable[..., Delivery] = Delivery
    return make(phone_count=count, **columns)


# Every service has these two; who reads them names the service.
BACKLOG = ViewQuery(
    """
    SELECT $1::text AS service, unpublished_count, dead_letter_count FROM audit_v1.backlog
    """,
    Backlog,
)
DUE_WORK = ViewQuery(
    """
    SELECT $1::text AS service, kind AS what, subject AS name, due_time FROM audit_v1.due_work
    """,
    Waiting,
)

HOLDS = ViewQuery(
    """
    SELECT merchant, standing_order, cycle, product, quantity_units AS quantity, state
    FROM audit_v1.stock_holds
    """,
    _hold,
)
STOCK = ViewQuery(
    "SELECT merchant, product, held_units FROM audit_v1.stock WHERE held_units <> 0", Stock
)

STANDING_ORDERS = ViewQuery(
    """
    SELECT merchant, standing_order, state, base_cycle AS first_cycle, schedule,
           state_change_time AS change_time, first_cycle AS billed_from_cycle, dates_changed,
           next_cycle, last_cycle, erased
    FROM audit_v1.standing_orders
    """,
    _standing_order,
)
ORDERS = ViewQuery(
    """
    SELECT merchant, standing_order, cycle, due_time, state, amount_minor, currency, moved, local_date
    FROM audit_v1.orders
    """,
    _order,
)
CYCLES_BROUGHT_FORWARD = ViewQuery(
    """
    SELECT merchant, standing_order, cycle, due_time, time_zone
    FROM audit_v1.cycles_brought_forward
    """,
    _brought_forward,
)
CYCLES_MOVED_BY_CUSTOMERS = ViewQuery(
    "SELECT merchant, standing_order, cycle FROM audit_v1.cycles_moved_by_customers", _order_key
)

CHARGES = ViewQuery(
    """
    SELECT name, order_name AS "order", state, billing_mode, amount_minor, currency
    FROM audit_v1.charges
    """,
    Charge,
)
ATTEMPTS = ViewQuery(
    """
    SELECT charge_name AS charge, number, idempotency_key AS key, state, amount_minor, currency,
           provider_payment AS payment, start_time, mandate_name AS mandate
    FROM audit_v1.attempts
    """,
    Attempt,
)
MANDATES = ViewQuery(
    """
    SELECT name, charge_ceiling_minor, month_ceiling_minor, currency, valid_from_time,
           valid_until_time, revoke_time
    FROM audit_v1.mandates
    """,
    Mandate,
)
REFUNDS = ViewQuery(
    """
    SELECT name, state, amount_minor, currency, provider_refund AS payment FROM audit_v1.refunds
    """,
    Refund,
)
LEDGER_ENTRIES = ViewQuery(
    """
    SELECT merchant, transaction, source, account, amount_minor, currency
    FROM audit_v1.ledger_entries
    """,
    LedgerEntry,
)

DELIVERIES = ViewQuery(
    """
    SELECT merchant, customer, notice, kind, subject_resource AS subject, channel, main, state,
           deliver_time, promised_amount_minor AS promised_minor, promised_currency,
           bound_phone_count AS phone_count, charge_not_before_time AS not_before_time,
           notice_lead AS lead
    FROM audit_v1.deliveries
    """,
    _delivery,
)
