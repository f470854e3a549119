"""Standing orders as a whole: create, change, pause, resume, cancel."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import NamedTuple

from services.runtime.db.pool import Connection, Database
from services.runtime.errors import (
    Violations,
    already_exists,
    not_found,
    wrong_state,
)
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied, Apply
from services.runtime.observability import tracing
from services.runtime.rpc.conversions import check_etag, etag
from services.scheduler import publishers
from services.scheduler.application import new_links, pauses, settlement, sign_up
from services.scheduler.clients import Clients
from services.scheduler.domain import calendar, validation
from services.scheduler.domain.action_links import OFFERED_IN_PAUSE
from services.scheduler.domain.charge_rules import RuleLead
from services.scheduler.domain.cycles import ended, overdue_opened
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Order,
    OrderReason,
    OrderState,
    can_be_paid_late,
)
from services.scheduler.domain.order_lifecycle import cancelled, mandate_changed
from services.scheduler.domain.pauses import (
    is_over,
    pause_recorded,
    paused,
    reactivated,
    resumed,
)
from services.scheduler.domain.price_protection import agreed_anew, asks_anew, under_schedule
from services.scheduler.domain.rescheduling import LastOrder, rescheduled
from services.scheduler.domain.standing_order import (
    LIVE_STATES,
    Opening,
    StandingOrder,
    State,
    at_cycle,
    under_rule_lead,
)
from services.scheduler.names import standing_order_name
from services.scheduler.store import orders, purchases, sign_ups
from services.scheduler.store import standing_orders as store

# After a change of these, the other services are called again.
CHECKED_FIELDS = frozenset({"items", "billing_mode", "mandate", "conditions", "price_protection"})


class Update(NamedTuple):
    """A change of some fields of a standing order."""

    key: StandingOrderKey
    present_etag: str
    fields: frozenset[str]
    # What the change makes of the standing order that is there.
    merge: Callable[[StandingOrder], Awaitable[StandingOrder]]


# --- finding ---------------------------------------------------------------------------------------


async def existing(
    connection: Connection, key: StandingOrderKey, *, lock: bool = False
) -> StandingOrder:
    """A standing order. Raises NOT_FOUND STANDING_ORDER_NOT_FOUND."""
    standing_order = await store.get(connection, *key, lock=lock)
    if standing_order is None:
        raise not_found("STANDING_ORDER_NOT_FOUND", standing_order_name(*key))
    return standing_order


def check_present(
    standing_order: StandingOrder, present_etag: str, states: Sequence[State]
) -> StandingOrder:
    """Refuse a change that is decided on another version, or that its state does not allow."""
    name = standing_order_name(*standing_order.key)
    check_etag(present_etag, standing_order.version, name)
    if standing_order.state not in states:
        raise wrong_state("STANDING_ORDER_STATE", f"{name} is {standing_order.state}")
    return standing_order


async def locked(
    tx: Connection,
    key: StandingOrderKey,
    present_etag: str,
    states: Sequence[State],
    now: datetime,
) -> StandingOrder:
    """A standing order in one of the states, as the caller knows it, locked for a change.

    A pause that is over ends before, if no worker has ended it.
    """
    present = await existing(tx, key, lock=True)
    if is_over(present, now):
        check_present(present, present_etag, LIVE_STATES)
        await pauses.resume(tx, [present], now)
        present, present_etag = await existing(tx, key), ""
    return check_present(present, present_etag, states)


async def record_pause(
    tx: Connection, standing_order: StandingOrder, now: datetime
) -> StandingOrder:
    """A locked standing order whose next cycle is one to come, once the rows of a pause are stored.

    Raises FAILED_PRECONDITION STANDING_ORDER_STATE if none is to come.
    """
    if standing_order.state is not State.PAUSED:
        return standing_order
    opening = pause_recorded(standing_order, now)
    if not opening.orders:
        return standing_order
    if opening.standing_order.next_cycle is None:
        name = standing_order_name(*standing_order.key)
        raise wrong_state("STANDING_ORDER_STATE", f"{name} has no cycle left")
    await orders.insert(tx, opening.orders, now)
    return await store.change(tx, opening.standing_order, now)


# --- create ----------------------------------------------------------------------------------------


async def create(
    database: Database, clients: Clients, standing_order: StandingOrder, *, allow_duplicate: bool
) -> Apply[StandingOrder]:
    """Check a standing order with the other services; returns what stores it.

    Raises ALREADY_EXISTS STANDING_ORDER_ALREADY_EXISTS, FAILED_PRECONDITION DUPLICATE_STANDING_ORDER,
    PHONE_NOT_BOUND or MANDATE_NOT_COVERING, INVALID_ARGUMENT for what cannot be ordered.
    """
    duplicate_id = already_exists(
        "STANDING_ORDER_ALREADY_EXISTS", standing_order_name(*standing_order.key)
    )
    # Refused first, so that a duplicate leaves nothing behind anywhere.
    products = () if allow_duplicate else sign_up.products_of(standing_order.items)
    async with database.read() as connection:
        if await store.get(connection, *standing_order.key) is not None:
            raise duplicate_id
        await sign_up.refuse_duplicate(connection, standing_order, products)
    billable = await sign_up.billable(clients, standing_order)

    async def apply(tx: Connection) -> Applied[StandingOrder]:
        await purchases.lock_customer(tx, billable.merchant, billable.customer)
        await sign_up.refuse_duplicate(tx, billable, products)
        if not await sign_ups.insert(tx, [billable]):
            raise duplicate_id
        event = publishers.standing_order_changed(billable, "CREATED", billable.create_time)
        return Applied(billable, events=[event])

    return apply


async def give_back(database: Database, clients: Clients, keys: Sequence[StandingOrderKey]) -> None:
    """Give back what standing orders redeemed whose sign-up failed; those that are stored keep it."""
    async with database.read() as connection:
        stored = await sign_ups.stored(connection, keys)
    failed = [key for key in keys if key not in stored]
    if failed:
        await clients.release_promotions(failed)


# --- change ----------------------------------------------------------------------------------------


async def update(
    database: Database, clients: Clients, update: Update, now: datetime, *, allow_duplicate: bool
) -> Apply[StandingOrder]:
    """Check a change with the other services; returns what stores it, from the next cycle on.

    Raises what `create` does of what is changed, and what `updated` does.
    """
    opening = await updated(database, update, now)
    wanted = opening.standing_order
    unique = "items" in update.fields and not allow_duplicate
    if unique:
        async with database.read() as connection:
            known = await existing(connection, update.key)
            products = sign_up.products_of(wanted.items, known.items)
            await sign_up.refuse_duplicate(connection, wanted, products)
    if CHECKED_FIELDS & update.fields:
        billable = await sign_up.billable(clients, wanted)
        wanted = under_rule_lead(wanted, RuleLead(billable.rule_lead, billable.notice_rule_pack))
        wanted = replace(wanted, price_agreements=billable.price_agreements)
        opening = opening._replace(standing_order=wanted)

    async def apply(tx: Connection) -> Applied[StandingOrder]:
        # Whatever changed the standing order meanwhile decided on another one: try again.
        present = await locked(tx, update.key, "", LIVE_STATES, now)
        check_present(wanted, etag(present.version), LIVE_STATES)
        if unique:
            await purchases.lock_customer(tx, wanted.merchant, wanted.customer)
            products = sign_up.products_of(wanted.items, present.items)
            await sign_up.refuse_duplicate(tx, wanted, products)
        unchanged = replace(wanted, update_time=present.update_time) == present
        if unchanged and not opening.orders:
            return Applied(present, before=present)
        changed = await _store(tx, opening, "UPDATED", now)
        # Nothing is decided of what is yet to be prepared, and what a pause swallowed is known.
        missed = [
            event
            for order in opening.orders
            if order.state is OrderState.SKIPPED and wanted.state is State.ACTIVE
            for event in publishers.order_events(order, changed, now)
        ]
        await outbox.put(tx, missed)
        events = await _pay_under_mandate(tx, changed, now) if "mandate" in update.fields else ()
        return Applied(changed, before=present, events=events)

    return apply


async def updated(database: Database, update: Update, now: datetime) -> Opening:
    """What an update makes of the standing order.

    With the rows of the cycles that fell due before, by the schedule that they had. Raises NOT_FOUND
    STANDING_ORDER_NOT_FOUND, FAILED_PRECONDITION STANDING_ORDER_STATE, ABORTED ETAG_MISMATCH.
    """
    async with database.read() as connection:
        standing_order = await existing(connection, update.key)
        last = await orders.last(connection, update.key)
    check_present(standing_order, update.present_etag, LIVE_STATES)
    if is_over(standing_order, now):
        # As it is found when the update is stored.
        after_pause = pauses.resumed_as_stored(standing_order, now)
        standing_order, last = after_pause.standing_order, _last(after_pause, last)
    wanted = await update.merge(standing_order)
    opening = Opening(standing_order)
    changes_dates = "schedule" in update.fields and not calendar.same_dates(
        wanted.schedule, standing_order.plan
    )
    if standing_order.state is State.PAUSED or changes_dates:
        new_trace = partial(tracing.new_traceparent, "prepare cycle", alone=True)
        opening = overdue_opened(standing_order, now, new_trace)
    changed = replace(
        opening.standing_order,
        title=wanted.title,
        items=wanted.items,
        billing_mode=wanted.billing_mode,
        mandate=wanted.mandate,
        ship_to=wanted.ship_to,
        region_code=wanted.region_code,
        tax_id=wanted.tax_id,
        notice_lead=wanted.notice_lead,
        payment_window=wanted.payment_window,
        catch_up=wanted.catch_up,
        conditions=wanted.conditions,
        repurchase=wanted.repurchase,
        slot_days_before=wanted.slot_days_before,
        slot_days_after=wanted.slot_days_after,
        update_time=now,
    )
    if changes_dates:
        changed = rescheduled(changed, wanted.schedule, _last(opening, last), now)
        changed = under_schedule(changed, now)
    elif changed.next_cycle:
        changed = at_cycle(changed, changed.next_cycle)
    protection = wanted.price_protection
    if "price_protection" in update.fields and asks_anew(changed, protection):
        changed = agreed_anew(changed, protection, now)
    return Opening(changed, opening.orders)


async def _pay_under_mandate(
    tx: Connection, changed: StandingOrder, now: datetime
) -> Sequence[OutboxEvent]:
    """Have orders that await payment paid under the new mandate, if there is one.

    What was announced as to be confirmed by the customer has no mandate, and gets none.
    """
    mended = [
        mandate_changed(order, changed.mandate, now)
        for order in await orders.open_orders(tx, [changed.key])
        if order.state is OrderState.AWAITING_PAYMENT
        and order.terms.mandate
        and changed.mandate not in {"", order.terms.mandate}
    ]
    stored = await orders.update(tx, mended, OrderState.AWAITING_PAYMENT, now)
    return [publishers.payment_mandate_changed(order, changed, now) for order in stored]


# --- pause and resume ------------------------------------------------------------------------------


async def pause(
    tx: Connection,
    key: StandingOrderKey,
    present_etag: str,
    now: datetime,
    *,
    until_time: datetime | None,
    cycle_count: int | None,
) -> Applied[StandingOrder]:
    """Stop opening cycles; an announced order is cancelled."""
    violations = Violations()
    in_time = until_time is None or until_time > now
    violations.require("until_time", "must be later than now", met=in_time)
    violations.check()
    standing_order = await locked(tx, key, present_etag, (State.ACTIVE,), now)
    opening = Opening(paused(standing_order, until_time, cycle_count))
    open_orders = await orders.open_orders(tx, [key])
    changed = await _end_open_orders(tx, opening, open_orders, OrderReason.PAUSED, now)
    return Applied(changed, before=standing_order)


async def resume(
    tx: Connection,
    key: StandingOrderKey,
    present_etag: str,
    now: datetime,
    *,
    anchor_date: date | None,
) -> Applied[StandingOrder]:
    """Go on after a pause, on from a new date if one is given; what it swallowed is recorded."""
    present = await existing(tx, key, lock=True)
    standing_order = check_present(present, present_etag, (State.PAUSED,))
    if anchor_date is None:
        opening = resumed(standing_order, now)
    else:
        # From a new day on, nothing has to be left out for being too near to be announced.
        opening = overdue_opened(standing_order, now)
        last = _last(opening, await orders.last(tx, key))
        schedule = replace(
            standing_order.plan, start_date=_checked_anchor(standing_order, anchor_date, now)
        )
        going_on = rescheduled(reactivated(opening.standing_order), schedule, last, now)
        opening = Opening(under_schedule(going_on, now), opening.orders)
    return Applied(await _store(tx, opening, "RESUMED", now), before=standing_order)


def _checked_anchor(standing_order: StandingOrder, anchor_date: date, now: datetime) -> date:
    """A date from which the standing order can go on."""
    violations = Violations()
    today = calendar.utc_to_local_date(now, standing_order.schedule.time_zone)
    violations.require("anchor_date", "must not be past", met=anchor_date >= today)
    violations.check()
    # What is put together is as sound as what is created.
    for violation in validation.violations(
        replace(standing_order.plan, start_date=anchor_date), today=None
    ):
        violations.add("anchor_date", f"{violation.field}: {violation.message}", violation.reason)
    violations.check()
    return anchor_date


# --- end -------------------------------------------------------------------------------------------


async def cancel(
    tx: Connection, key: StandingOrderKey, present_etag: str, now: datetime
) -> Applied[StandingOrder]:
    """End a standing order at once, with the payments that are expected of its orders.

    One that has ended stays as it is, if an order of it could still be paid late.
    """
    present = await existing(tx, key, lock=True)
    open_orders = await orders.open_orders(tx, [key])
    lapsed = await orders.open_orders(tx, [key], (OrderState.LAPSED,))
    late = [order for order in lapsed if can_be_paid_late(order)]
    changed = check_present(present, present_etag, tuple(State) if late else LIVE_STATES)
    if present.state in LIVE_STATES:
        reason = OrderReason.STANDING_ORDER_CANCELLED
        changed = await _end_open_orders(tx, ended(present, now), open_orders, reason, now)
    withdrawn = [
        publishers.payment_withdrawn(order, now)
        for order in (*open_orders, *late)
        if order.state in {OrderState.AWAITING_PAYMENT, OrderState.LAPSED}
    ]
    return Applied(changed, before=present, events=withdrawn)


async def end_after_current(
    tx: Connection, key: StandingOrderKey, present_etag: str, now: datetime
) -> Applied[StandingOrder]:
    """Let the cycle that is under way, or else the next one, be the last."""
    present = await locked(tx, key, present_etag, LIVE_STATES, now)
    standing_order = await record_pause(tx, present, now)
    if standing_order.next_cycle is None:
        return Applied(standing_order, before=present)
    open_orders = await orders.open_orders(tx, [key])
    last = open_orders[-1].key.cycle if open_orders else standing_order.next_cycle
    ending = at_cycle(replace(standing_order, last_cycle=last), standing_order.next_cycle)
    return Applied(await _store(tx, Opening(ending), "UPDATED", now), before=present)


async def _end_open_orders(
    tx: Connection,
    opening: Opening,
    open_orders: Sequence[Order],
    reason: OrderReason,
    now: datetime,
) -> StandingOrder:
    """Store a pause or a cancellation, and cancel those of the orders that nobody paid for yet."""
    standing_order = opening.standing_order
    events = []
    for state in WITHDRAWABLE_STATES:
        ending = [cancelled(order, reason, now) for order in open_orders if order.state is state]
        for order in await orders.update(tx, ending, state, now):
            events += publishers.order_events(order, standing_order, now)
    changed = await _store(tx, opening, str(standing_order.state), now)
    await outbox.put(tx, events)
    return changed


async def _store(tx: Connection, opening: Opening, change: str, now: datetime) -> StandingOrder:
    """Store a changed standing order and the rows that it leaves; with nothing left, it ends."""
    changed = await store.change(tx, opening.standing_order, now)
    await orders.insert(tx, opening.orders, now)
    key = changed.key
    if changed.state is not State.CANCELLED and changed.next_cycle is None:
        over = await settlement.end_finished(tx, [key], now)
        if key in over:
            return over[key]
    following = await orders.next_open_time(tx, key, now)
    paused = [changed] if change == State.PAUSED else []
    links = await new_links.of_standing_orders(tx, paused, OFFERED_IN_PAUSE, now)
    event = publishers.standing_order_changed(
        changed, change, now, following, link_uri=links.get(key, "")
    )
    await outbox.put(tx, [event])
    return changed


def _last(opening: Opening, stored: LastOrder | None) -> LastOrder | None:
    """The last cycle that has an order, once those of an opening are stored."""
    if not opening.orders:
        return stored
    order = opening.orders[-1]
    return LastOrder(order.key.cycle, order.local_date)
