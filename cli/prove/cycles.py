"""Checks of cycles: one order each, on the date of the calendar."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from cli.prove.calendar import due_times, is_plain
from cli.prove.findings import (
    Check,
    Finding,
    Kind,
    cycle_text,
    exactly_one,
    grouped,
    new_check,
    wrong,
)
from cli.prove.records import Order, Records, StandingOrder
from cli.values import format_moment

ENDED_STATES = {"CANCELLED", "COMPLETED"}
CYCLE_MAX = 2**31 - 1
# An order of which money was taken, or is to be.
BILLED_STATES = {"UPCOMING", "AWAITING_PAYMENT", "PAID"}


def check_cycles(records: Records) -> Check:
    """Every cycle that fell due has exactly one order, with the calendar's own due time.

    Where dates were changed, or are of a kind that the plain calendar does not know, the cycles must
    at least follow each other without a gap or a double.
    """
    orders = grouped(records.orders, lambda order: order.key)
    by_standing_order = grouped(records.orders, lambda order: order.key[:2])
    findings = []
    due_count = 0
    known = set()
    for standing_order in records.standing_orders:
        of_it = by_standing_order.get((standing_order.merchant, standing_order.standing_order), [])
        last, until = _last_expected(standing_order, of_it, records.now)
        for cycle, due_time in _cycles(standing_order, of_it, records.now):
            key = (standing_order.merchant, standing_order.standing_order, cycle)
            known.add(key)
            found = orders.get(key, [])
            if cycle <= last and (due_time is None or due_time <= until):
                due_count += 1
                findings += exactly_one(found, f"order of cycle {cycle_text(key)}")
            findings += [
                wrong(f"cycle {cycle_text(key)} was due {format_moment(order.due_time)},"
                       f" the calendar says {format_moment(due_time)}")
                for order in found
                if due_time is not None and order.due_time != due_time and not order.moved
            ]  # fmt: skip
    findings += [
        wrong(f"order of cycle {cycle_text(key)}, which the calendar does not have")
        for key in orders
        if key not in known
    ]
    return new_check("cycles due / orders", due_count, len(records.orders), findings)


def check_dates(records: Records) -> Check:
    """No date is billed again after its cycle was brought forward from it.

    What was brought forward is read from the log of what callers changed, and not from what the
    scheduler made of it. A cycle that its customer put on such a date is there on purpose.
    """
    billed = [order for order in records.orders if order.state in BILLED_STATES]
    keys = {order.key for order in billed}
    used_up = {each.key: each.nominal_date for each in records.brought_forward if each.key in keys}
    by_date = grouped(
        [each for each in billed if each.key not in {*used_up, *records.date_chosen}],
        lambda order: (order.key[:2], order.local_date),
    )
    findings = [
        Finding(
            Kind.DUPLICATE,
            f"{day} was brought forward as cycle {cycle_text(key)},"
            f" and is billed again as cycle {order.key[2]}",
        )
        for key, day in used_up.items()
        for order in by_date.get((key[:2], day), [])
    ]
    kept = len(used_up) - len(findings)
    return new_check("cycles brought forward / once", len(used_up), kept, findings)


def _cycles(
    standing_order: StandingOrder, orders: Sequence[Order], now: datetime
) -> Iterable[tuple[int, datetime | None]]:
    """Every cycle up to the latest that is due or has an order: some are announced beforehand.

    With its due time, where the plain calendar can tell it.
    """
    if standing_order.dates_changed or not is_plain(standing_order.schedule):
        last = max((order.key[2] for order in orders), default=0)
        if standing_order.state == "ACTIVE" and standing_order.next_cycle is not None:
            last = max(last, standing_order.next_cycle - 1)
        return ((cycle, None) for cycle in range(standing_order.billed_from_cycle, last + 1))
    until = max([now, *(order.due_time for order in orders)])
    cycles = enumerate(due_times(standing_order.schedule, until), standing_order.first_cycle)
    return (each for each in cycles if each[0] >= standing_order.billed_from_cycle)


def _last_expected(
    standing_order: StandingOrder, orders: Sequence[Order], now: datetime
) -> tuple[int, datetime]:
    """Up to which cycle, and up to when, each cycle must have its order.

    One that is paused gets the rows of what passes meanwhile when the pause ends. One that has ended
    has a row for each cycle up to then; of an erased one nothing tells when that was.
    """
    opened = max((order.key[2] for order in orders), default=0)
    if standing_order.state == "PAUSED":
        following = standing_order.next_cycle
        return (opened if following is None else following - 1), now
    if standing_order.state in ENDED_STATES:
        if standing_order.erased:
            return opened, now
        until = now if standing_order.state == "COMPLETED" else standing_order.change_time
        return standing_order.last_cycle or CYCLE_MAX, until
    return standing_order.last_cycle or CYCLE_MAX, now
